import {
  type GraphQLArgument,
  type GraphQLField,
  type GraphQLInputField,
  type GraphQLInputType,
  getNamedType,
  isEnumType,
  isInputObjectType,
  isListType,
  isNonNullType,
} from 'graphql';
import { newSessionText } from '../../identity/sessions/sessionText.ts';
import { type IdKind, idPrefixes } from '../../schema/names.ts';
import type { FilledTenant } from './filledTenant.ts';

type Field = GraphQLField<unknown, unknown>;

/** A value that names something of the filled tenant, and one of the same form that names nothing of anybody. */
interface Pair {
  ofTenant: unknown;
  ofNobody: unknown;
}

export type Arguments = Record<string, unknown>;

/** Fills the arguments of a field: all of them, or the required ones and those that are wanted. */
export type FillArguments = (field: Field, whose: keyof Pair, wanted?: Wanted) => Arguments;

/** Paths of optional arguments, those of an input object behind a dot: `filter.run`. */
export type Wanted = ReadonlySet<string>;

/** Throws for an argument of which nothing is known: a new one is to be given its value here. */
export function argumentsFrom(tenant: FilledTenant): FillArguments {
  const pairAt = pairsIn(tenant);
  return (field, whose, wanted) => build(field.args, (part) => pairAt(field, part)[whose], wanted);
}

/** All that is given is the asker's own, but for one name: another tenant's, or that of nobody. */
export interface Mixed {
  name: string;
  ofOther: Arguments;
  ofNobody: Arguments;
}

/** One for each argument of a field that names something. */
export function mixturesFrom(own: FilledTenant, other: FilledTenant): (field: Field, wanted?: Wanted) => Mixed[] {
  const [ownPair, otherPair] = [pairsIn(own), pairsIn(other)];
  return (field, wanted) => {
    const names: string[] = [];
    build(
      field.args,
      (part, path) => {
        const { ofTenant, ofNobody } = otherPair(field, part);
        if (ofTenant !== ofNobody) names.push(path);
      },
      wanted,
    );
    const withOne = (name: string, whose: keyof Pair) =>
      build(
        field.args,
        (part, path) => (path === name ? otherPair(field, part)[whose] : ownPair(field, part).ofTenant),
        wanted,
      );
    return names.map((name) => ({
      name,
      ofOther: withOne(name, 'ofTenant'),
      ofNobody: withOne(name, 'ofNobody'),
    }));
  };
}

/** What is wanted of a query: everything, and each optional part alone beside the required ones. */
export function partsOf(field: Field): Wanted[] {
  const all = optionalPaths(field);
  return [...formsOf(field), ...(all.size > 1 ? [...all].map((path) => new Set([path])) : [])];
}

/** Everything that can be given, once in each of its forms. */
export function formsOf(field: Field): Wanted[] {
  const all = optionalPaths(field);
  const forms = eitherOr[field.name];
  if (forms === undefined) return [all];
  return forms.map((form) => {
    const others = forms.flat().filter((name) => !form.includes(name));
    return new Set([...all].filter((name) => !others.includes(name)));
  });
}

/** By field, the arguments of which one set is given in the place of another. */
const eitherOr: Record<string, string[][]> = {
  run: [['id'], ['workflowId']],
  openImmutableUserString: [
    ['userName', 'password', 'oneTimeCode'],
    ['serviceSessionId', 'userId', 'reason', 'ipAddress'],
  ],
};

/** Arguments that only say which part of a list is wanted. */
export const positions = ['first', 'after'];

type Part = GraphQLArgument | GraphQLInputField;

function build(
  parts: readonly Part[],
  fillIn: (part: Part, path: string) => unknown,
  wanted: Wanted | undefined,
  above = '',
): Arguments {
  const given: Arguments = {};
  for (const part of parts) {
    if (positions.includes(part.name)) continue;
    const path = `${above}${part.name}`;
    const named = getNamedType(part.type);
    const isWanted = (): boolean => [...wanted!].some((each) => each === path || each.startsWith(`${path}.`));
    if (wanted !== undefined && !isRequired(part) && !isWanted()) continue;
    const value = isInputObjectType(named)
      ? build(Object.values(named.getFields()), fillIn, wanted, `${path}.`)
      : fillIn(part, path);
    given[part.name] = inList(part.type, value);
  }
  return given;
}

function optionalPaths(field: Field): Set<string> {
  const paths = new Set<string>();
  const walk = (parts: readonly Part[], above: string): void => {
    for (const part of parts.filter(({ name }) => !positions.includes(name))) {
      const named = getNamedType(part.type);
      const path = `${above}${part.name}`;
      if (!isRequired(part)) paths.add(path);
      if (isInputObjectType(named)) walk(Object.values(named.getFields()), `${path}.`);
    }
  };
  walk(field.args, '');
  return paths;
}

function isRequired({ type, defaultValue }: Part): boolean {
  return isNonNullType(type) && defaultValue === undefined;
}

function inList(type: GraphQLInputType, value: unknown): unknown {
  const bare = isNonNullType(type) ? type.ofType : type;
  return isListType(bare) ? [value] : value;
}

function pairsIn(tenant: FilledTenant): (field: Field, part: Part) => Pair {
  const known = pairsOf(tenant);
  return (field, { name, type }) => {
    const named = getNamedType(type);
    const pair = known[`${field.name}.${name}`] ?? (name === 'id' ? undefined : known[name]);
    if (pair === undefined)
      throw new Error(`${field.name}: nothing is known for the argument ${name}: ${type}; see pairsOf`);
    if (isEnumType(named) && named.getValue(String(pair.ofTenant)) === undefined)
      throw new Error(`${field.name}: ${String(pair.ofTenant)} is no ${named.name}; see pairsOf`);
    return pair;
  };
}

/** By `field.argument`, or by the name of the argument alone where it means the same everywhere. */
function pairsOf(tenant: FilledTenant): Record<string, Pair> {
  const same = (value: unknown): Pair => ({ ofTenant: value, ofNobody: value });
  const name = (value: string): Pair => ({ ofTenant: value, ofNobody: twisted(value) });
  const id = (kind: IdKind): Pair => ({
    ofTenant: tenant.ids[kind],
    ofNobody: `${idPrefixes[kind]}_${'01900000000070008000'}${'f'.repeat(12)}`,
  });
  const fields = (names: string, pair: Pair) =>
    Object.fromEntries(names.split(' ').map((field) => [field.includes('.') ? field : `${field}.id`, pair]));
  const number = (value: number): Pair => ({ ofTenant: value, ofNobody: value + 1 });
  const { keyBase64, ivBase64 } = tenant.integrationKey;
  const document = (pipeline: string, endpoint: string) =>
    `pipeline: ${pipeline}\napiVersion: waybill/v1\nendpoints: { a: ${endpoint} }\nsteps:\n  - { use: files.list@1, with: { from: "a:/" } }\n`;
  return {
    ...fields('run cancelRun pauseRun resumeRun retryRun auditEvents.run transfers.run deliveries.run', id('run')),
    ...fields('runUpdated', id('run')),
    ...fields('transfer deliveries.transfer', id('transfer')),
    ...fields('delivery retryDelivery resendDelivery', id('delivery')),
    ...fields('revokeApiKey rotateApiKey', id('apiKey')),
    ...fields('closeSession', id('session')),
    // Every other kind is asked of `node` by a test of its own.
    ...fields('node', id('run')),
    ...fields('disableApplication registerApplication', number(tenant.applicationId)),
    applicationId: number(tenant.applicationId),
    userId: number(tenant.userId),
    ...fields(
      'endpoint.name checkEndpoint.name acceptHostKey.name pauseEndpoint.name resumeEndpoint.name sweepEndpoint.name removeEndpoint.name',
      name(tenant.endpoint),
    ),
    ...fields(
      'deliveries.endpoint applyConfiguration.name grantAccount.target revokeGrant.target',
      name(tenant.endpoint),
    ),
    ...fields('pipeline.name', name(tenant.pipeline)),
    ...fields('setSecret.name removeSecret.name', name(tenant.secret)),
    ...fields('createServiceAccount.name', name(tenant.account)),
    ...fields('createApiKey.name', name(tenant.apiKeyName)),
    ...fields('createIntegration.name rotateIntegration.name disableIntegration.name', name(tenant.integration)),
    ...fields('registerApplication.name', name(tenant.application)),
    account: name(tenant.account),
    integration: name(tenant.integration),
    pipeline: name(tenant.pipeline),
    userName: name(tenant.userName),
    user: name(tenant.userName),
    email: name(tenant.email),
    emailAddress: name(tenant.email),
    site: name(tenant.site),
    password: name(tenant.password),
    currentPassword: name(tenant.password),
    keyBase64: { ofTenant: keyBase64, ofNobody: Buffer.alloc(32, 7).toString('base64') },
    ivBase64: { ofTenant: ivBase64, ofNobody: Buffer.alloc(16, 7).toString('base64') },
    ...fields('openWithTicket.ticket', ticket(tenant.tickets.openWithTicket)),
    ...fields('openWithTicketEx.ticket', ticket(tenant.tickets.openWithTicketEx)),
    sessionId: { ofTenant: tenant.sessionId, ofNobody: newSessionText() },
    serviceSessionId: { ofTenant: tenant.sessionId, ofNobody: newSessionText() },
    session: { ofTenant: tenant.sessionId, ofNobody: newSessionText() },
    workflowId: name(tenant.workflowId),
    idempotencyKey: name(tenant.idempotencyKey),
    sha256: { ofTenant: tenant.sha256, ofNobody: 'ce'.repeat(32) },
    type: name(tenant.event),
    ...fields('startRun.version', { ofTenant: tenant.versionHash, ofNobody: 'ba'.repeat(32) }),
    version: same(2),
    ...fields('applyConfiguration.text', {
      ofTenant: document(tenant.pipeline, tenant.endpoint),
      ofNobody: document(twisted(tenant.pipeline), twisted(tenant.endpoint)),
    }),
    ...plainValues(same),
  };
}

/** What names nothing: the same in both. */
function plainValues(same: (value: unknown) => Pair): Record<string, Pair> {
  const values: Record<string, unknown> = {
    ...{
      'applyConfiguration.kind': 'endpoint',
      'applyConfiguration.secret': 'password',
      'applyConfiguration.file': 'a.yaml',
    },
    ...{ 'runs.status': 'failed', 'deliveries.state': 'failed', since: '2020-01-01T00:00:00.000Z', glob: '**/*.csv' },
    ...{ live: true, dryRun: false, prune: false, failedOnly: true, legacy: true, oneTime: false, until: null },
    ...{ reason: 'a reason', value: 'a value', fingerprint: 'SHA256:x', path: '/', olderThan: '24h', overlap: '1h' },
    ...{ inputs: {}, scopes: '*', allowedCidrs: '127.0.0.0/8', expiresInDays: 1, overlapHours: 1, action: 'use' },
    ...{ role: 'operator', firstName: 'First', lastName: 'Last', oneTimeCode: null, clientVersion: 'wall' },
    ...{ 'confirmAuthenticator.oneTimeCode': '000000', folderId: 'f-1', ip: '127.0.0.1', ipAddress: '127.0.0.1' },
    userString: 'external',
  };
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, same(value)]));
}

/** Of the same length and form, so that an answer that repeats it differs in nothing else. */
function twisted(text: string): string {
  return `${text.startsWith('z') ? 'y' : 'z'}${text.slice(1)}`;
}

/** The last characters are those of the tag. */
function ticket(text: string): Pair {
  const at = text.length - 10;
  return { ofTenant: text, ofNobody: `${text.slice(0, at)}${text[at] === 'A' ? 'B' : 'A'}${text.slice(at + 1)}` };
}

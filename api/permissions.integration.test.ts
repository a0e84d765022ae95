import {
  type GraphQLField,
  type GraphQLInputType,
  isEnumType,
  isInputObjectType,
  isListType,
  isNonNullType,
  isObjectType,
} from 'graphql';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createApiKey } from '../identity/apiKeys.ts';
import { publicId } from '../schema/names.ts';
import { startTestApi, type TestApi } from '../test/servers/api.ts';
import { signInsAt } from '../test/servers/signIns.ts';
import { apiSchema } from './schema/index.ts';
import { signInMutations } from './visitors.ts';

let api: TestApi;
/** A key that may do nothing but read webhooks. */
let weakKey: string;
beforeAll(async () => {
  api = await startTestApi(null);
  weakKey = await api.key(api.database.tenants.a, ['webhook:read']);
});
afterAll(async () => {
  await api.close();
});

const roots = [apiSchema.getQueryType()!, apiSchema.getMutationType()!, apiSchema.getSubscriptionType()!];
const open = ['node', 'viewer'];
/** Anybody who is signed in changes how they sign in themselves; who proves nothing more is refused by the mutation. */
const aboutTheCaller = ['setPassword', 'enrolAuthenticator', 'confirmAuthenticator'];

/** The ways in need no credential, and so no permission. */
const isWayIn = ({ name }: GraphQLField<unknown, unknown>) => (signInMutations as readonly string[]).includes(name);

function ruleOf(
  field: GraphQLField<unknown, unknown>,
): { may?: string; signedIn?: boolean; anybody?: boolean } | undefined {
  return (field.extensions.pothosOptions as { authScopes?: object } | undefined)?.authScopes;
}

describe('permissions', () => {
  test('every field of Query, Mutation and Subscription names the one it needs', () => {
    for (const root of roots)
      for (const field of Object.values(root.getFields())) {
        const rule = ruleOf(field);
        if (isWayIn(field)) {
          expect(rule, field.name).toEqual({ anybody: true });
          continue;
        }
        expect(
          [...open, ...aboutTheCaller].includes(field.name) ? rule?.signedIn : rule?.may,
          `${root.name}.${field.name}`,
        ).toBeTruthy();
      }
  });

  test('every node type has a rule of its own, so that no way leads to its fields without it', () => {
    const nodes = apiSchema.getPossibleTypes(apiSchema.getType('Node') as never);
    expect(nodes).toHaveLength(14);
    for (const node of nodes) {
      const options = node.extensions.pothosOptions as { authScopes?: { may?: string; signedIn?: boolean } };
      expect(options.authScopes?.may ?? options.authScopes?.signedIn, node.name).toBeTruthy();
    }
  });

  test('a key without the scope is refused by every query, as an error', async () => {
    for (const field of Object.values(roots[0]!.getFields())) {
      if (open.includes(field.name) || field.name === 'webhooks') continue;
      const { body } = await api.graphql(weakKey, `{ ${callOf(field)} }`);
      expect(body.errors?.[0].extensions.code, field.name).toBe('FORBIDDEN');
      expect(body.data?.[field.name] ?? null, field.name).toBeNull();
    }
    expect((await api.graphql(weakKey, '{ webhooks { edges { cursor } } }')).body.errors).toBeUndefined();
  });

  test('a key without the scope is refused by every mutation, as data, and nothing happens', async () => {
    for (const field of Object.values(roots[1]!.getFields())) {
      if (isWayIn(field) || aboutTheCaller.includes(field.name)) continue;
      const { body } = await api.graphql(weakKey, `mutation { ${callOf(field)} }`);
      expect(body.data?.[field.name]?.__typename, `${field.name}: ${JSON.stringify(body.errors)}`).toBe(
        'ForbiddenError',
      );
    }
    const events = await api.database.asOwner('select type from audit_event');
    expect(events).toEqual([]);
  });

  test('a key without the scope cannot watch a run', async () => {
    const { body } = await api.graphql(weakKey, 'subscription { runUpdated(id: "run_x") { id } }');
    expect(JSON.stringify(body)).toContain('FORBIDDEN');
  });

  test('a key never makes a key that may do more than itself', async () => {
    const maker = await api.key(api.database.tenants.a, ['key:create', 'run:read']);
    const create = `mutation($scopes: [String!]) { createApiKey(input: { name: "next", scopes: $scopes }) { __typename } }`;
    for (const scopes of [['*'], ['run:*'], ['run:read', 'secret:set']])
      expect((await api.graphql(maker, create, { scopes })).body.data.createApiKey.__typename).toBe('ForbiddenError');
    expect((await api.graphql(maker, create, { scopes: ['nonsense'] })).body.data.createApiKey.__typename).toBe(
      'InvalidInputError',
    );
    expect((await api.graphql(maker, create, { scopes: ['run:read'] })).body.data).not.toBeNull();
    const rows = await api.database.asOwner<{ scopes: string[] }>(`select scopes from api_key where name = 'next'`);
    expect(rows.map(({ scopes }) => scopes)).toEqual([['run:read']]);
  });

  test('a key with networks makes keys with the same or narrower ones, and none without', async () => {
    const { store, tenants } = api.database;
    const allowedCidrs = ['127.0.0.0/8', '2001:db8::/32'];
    const bound = await createApiKey(store, { ...tenants.a, name: 'bound', scopes: ['*'], allowedCidrs });
    const create = async (key: string, cidrs?: string[] | null) => {
      const query = `mutation($input: CreateApiKeyInput!) { createApiKey(input: $input) {
        __typename ... on CreateApiKeyPayload { apiKey { allowedCidrs } } } }`;
      const input = { name: 'bound too', ...(cidrs !== undefined && { allowedCidrs: cidrs }) };
      const { __typename, apiKey } = (await api.graphql(key, query, { input })).body.data.createApiKey;
      return apiKey?.allowedCidrs ?? __typename;
    };
    expect(await create(bound.secret)).toEqual(allowedCidrs);
    expect(await create(bound.secret, null)).toEqual(allowedCidrs);
    expect(await create(bound.secret, ['127.0.0.1/32'])).toEqual(['127.0.0.1/32']);
    expect(await create(bound.secret, ['::ffff:127.0.0.0/105'])).toEqual(['127.0.0.0/9']);
    for (const wider of [[], ['126.0.0.0/7'], ['127.0.0.1/32', '10.0.0.0/8'], ['::/0']])
      expect(await create(bound.secret, wider), wider.join()).toBe('ForbiddenError');
    expect(await create(bound.secret, ['127.0.0.1'])).toBe('InvalidInputError');
    expect(await create(api.keys.a, [])).toEqual([]);
    expect(await create(api.keys.a, ['10.0.0.0/8'])).toEqual(['10.0.0.0/8']);
    const rows = await api.database.asOwner(`select 1 from api_key where name = 'bound too'`);
    expect(rows).toHaveLength(6);
    const events = await api.database.asOwner<{ cidrs: string[] }>(
      `select data->'allowedCidrs' as cidrs from audit_event where data->>'name' = 'bound too'`,
    );
    expect(events.map(({ cidrs }) => cidrs)).toContainEqual(['127.0.0.0/9']);
  });

  test('a key with networks rotates none that may come from elsewhere', async () => {
    const { store, tenants } = api.database;
    const make = (allowedCidrs: string[]) =>
      createApiKey(store, { ...tenants.a, name: 'turning', scopes: ['*'], allowedCidrs });
    const bound = await make(['127.0.0.0/8']);
    const rotate = async ({ id }: { id: string }) => {
      const query = `mutation { rotateApiKey(input: { id: "${publicId('apiKey', id)}" }) { __typename ... on RotateApiKeyPayload { apiKey { allowedCidrs } } } }`;
      const { __typename, apiKey } = (await api.graphql(bound.secret, query)).body.data.rotateApiKey;
      return apiKey?.allowedCidrs ?? __typename;
    };
    for (const wider of [[], ['126.0.0.0/7'], ['127.0.0.1/32', '10.0.0.0/8']])
      expect(await rotate(await make(wider)), wider.join()).toBe('ForbiddenError');
    expect(await rotate(await make(['127.0.0.1/32']))).toEqual(['127.0.0.1/32']);
    expect(await rotate(bound)).toEqual(['127.0.0.0/8']);
  });
});

describe('a session in which somebody acts as an owner', () => {
  /** Each mutation that is not named here makes, changes or ends a credential or a right, also one that comes later. */
  const done = [
    ...['applyConfiguration', 'removeEndpoint', 'acceptHostKey', 'checkEndpoint', 'sweepEndpoint'],
    ...['pauseEndpoint', 'resumeEndpoint', 'startRun', 'cancelRun', 'pauseRun', 'resumeRun', 'retryRun'],
    ...['retryDelivery', 'resendDelivery', 'closeSession'],
  ];

  test('makes, changes and ends no credential, and does the rest', async () => {
    const signIns = await signInsAt(api);
    const { sessionId: serviceSessionId } = await signIns.openImmutable({ userName: 'olga' });
    const given = { serviceSessionId, userId: signIns.userIds.olga, applicationId: 20 };
    const { sessionId } = await signIns.call('openImmutableImpersonate', given);
    const before = await api.database.asOwner(credentials);
    const forbidden = [];
    for (const field of Object.values(roots[1]!.getFields())) {
      if (isWayIn(field)) continue;
      const { body } = await api.graphql(sessionId, `mutation { ${callOf(field)} }`);
      expect(body.errors, field.name).toBeUndefined();
      if (body.data[field.name].__typename === 'ForbiddenError') forbidden.push(field.name);
    }
    const all = Object.values(roots[1]!.getFields()).filter((field) => !isWayIn(field));
    expect(forbidden).toEqual(all.map(({ name }) => name).filter((name) => !done.includes(name)));
    expect(await api.database.asOwner(credentials)).toEqual(before);
  });

  const credentials = `select (select count(*) from api_key)::int as keys, (select count(*) from principal)::int as principals,
    (select count(*) from secret)::int as secrets, (select string_agg(hash, '' order by hash) from principal_password) as passwords,
    (select count(*) from integration)::int as integrations`;
});

/** A call of a root field with whatever arguments it needs. */
function callOf(field: GraphQLField<unknown, unknown>): string {
  const needed = field.args.filter(({ type }) => isNonNullType(type));
  const args = needed.length === 0 ? '' : `(${needed.map(({ name, type }) => `${name}: ${literal(type)}`).join()})`;
  const type = isNonNullType(field.type) ? field.type.ofType : field.type;
  const isConnection = isObjectType(type) && type.name.endsWith('Connection');
  return `${field.name}${args} { ${isConnection ? 'edges { cursor }' : '__typename'} }`;
}

function literal(type: GraphQLInputType): string {
  if (isNonNullType(type)) return literal(type.ofType);
  if (isListType(type)) return '[]';
  if (isEnumType(type)) return type.getValues()[0]!.name;
  if (!isInputObjectType(type)) return type.name === 'Int' ? '1' : '"x"';
  const needed = Object.values(type.getFields()).filter((input) => isNonNullType(input.type));
  return `{ ${needed.map((input) => `${input.name}: ${literal(input.type)}`).join(' ')} }`;
}

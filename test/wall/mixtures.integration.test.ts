import type { GraphQLField } from 'graphql';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { apiSchema } from '../../api/schema/index.ts';
import { signInMutations } from '../../api/visitors.ts';
import { type GraphqlAnswer, startTestApi, type TestApi } from '../servers/api.ts';
import type { TestDatabase } from '../servers/database.ts';
import { digestsOf, type FilledTenant, fillTenant } from './filledTenant.ts';
import { askAt, expectAlike } from './sameAnswers.ts';
import { type Arguments, argumentsFrom, formsOf, mixturesFrom, type Wanted } from './schemaArguments.ts';
import { type Question, question } from './schemaQuestions.ts';

/*
 * Where a mutation names several things, the first that is not the caller's would hide what is done with the others: tenant
 * B, who has everything too, gives its own, and in the place of one of them what is A's, or nobody's.
 */

type Field = GraphQLField<unknown, unknown>;

let api: TestApi;
let ofA: FilledTenant;
let ofB: FilledTenant;
let siteOfB: string;
/** Texts of A that B has not. */
let canaries: string[];
let digests: Record<string, string>;

beforeAll(async () => {
  api = await startTestApi(null);
  const { origin } = new URL(api.url);
  siteOfB = `${origin}/t/tenant-b/graphql`;
  ofA = await fillTenant(api, api.database.tenants.a, api.keys.a, `${origin}/t/tenant-a/graphql`);
  ofB = await withNamesOfItsOwn(
    api.database,
    await fillTenant(api, api.database.tenants.b, api.keys.b, siteOfB, 'native'),
  );
  canaries = ofA.canaries.filter((canary) => !ofB.canaries.includes(canary));
  digests = await digestsOf(api.database, ofA.tenant.tenantId);
});
afterAll(() => api?.close());

/** What changes what others name comes after them. */
const order = [/^open/, /^(?!open|change|set|apply)/, /^(change|set|apply)/];
const placeOf = ({ name }: Field): number => order.findIndex((pattern) => pattern.test(name));
/** Names of what is to be made are free in every tenant, whoever has them. */
const makes = /^(create(?!Ticket|UploadToken)|register)/;
const fields = Object.values(apiSchema.getMutationType()!.getFields())
  .filter(({ args, name }) => args.length > 0 && !makes.test(name))
  .toSorted((one, other) => placeOf(one) - placeOf(other));

describe('a mutation of tenant B, with its own and one thing of A,', () => {
  test.for(fields.map((field) => [field.name, field] as const))(
    '%s answers as if that were nobody’s, and changes nothing of A',
    async ([, field], { skip }) => {
      const mixtures = formsOf(field).map((form) => ({ form, mixed: mixturesFrom(ofB, ofA)(field, form) }));
      if (mixtures.every(({ mixed }) => mixed.length < 2)) skip('it names one thing: schema.integration.test.ts');
      for (const { form, mixed } of mixtures) {
        let isFound = false;
        for (const { name, ofOther, ofNobody } of mixed) {
          const [one, other] = [await askable(field, ofOther, name), await askable(field, ofNobody, name)];
          const body = await expectAlike((asked) => ask(field, asked), canaries, one, other);
          expect(body.errors, `${name}: ${JSON.stringify(body.errors)}`).toBeUndefined();
          isFound ||= !missing.test(body.data[field.name].__typename);
        }
        if (!isFound) await expectFound(field, form);
      }
      expect(await digestsOf(api.database, ofA.tenant.tenantId)).toEqual(digests);
    },
  );
});

const missing = /NotFound|SignInRefused/;

/** By what is all its own B comes as far as it can: without that the answers above would say nothing of the rest. */
async function expectFound(field: Field, form: Wanted): Promise<void> {
  const { body } = await ask(field, await askable(field, argumentsFrom(ofB)(field, 'ofTenant', form)));
  expect(body.errors, JSON.stringify(body.errors)).toBeUndefined();
  expect(body.data[field.name].__typename, 'with all its own').not.toMatch(missing);
}

const isWayIn = ({ name }: Field): boolean => (signInMutations as readonly string[]).includes(name);

function ask(field: Field, asked: Question): Promise<GraphqlAnswer> {
  return isWayIn(field) ? askAt(siteOfB, null, asked) : askAt(api.url, api.keys.b, asked);
}

/** With a new ticket in the place of B's own, which is good for one use. */
async function askable(field: Field, given: Arguments, foreign?: string): Promise<Question> {
  if (!('ticket' in given) || foreign === 'ticket') return question('mutation', field, given);
  const query = `mutation { createTicket(input: { integration: "${ofB.integration}", user: "ACME\\\\${ofB.userName}", version: 2 }) {
    ... on TicketPayload { ticket } } }`;
  const { body } = await api.graphql(api.keys.b, query);
  return question('mutation', field, { ...given, ticket: body.data.createTicket.ticket });
}

/** What every tenant of the tests is given alike, renamed: a name that both have is no name of the other's. */
async function withNamesOfItsOwn({ asOwner }: TestDatabase, filled: FilledTenant): Promise<FilledTenant> {
  const names = {
    pipeline: 'native-orders',
    endpoint: 'native-sftp',
    secret: 'native-password',
    versionHash: 'ef'.repeat(32),
  };
  const { tenantId } = filled.tenant;
  const renamed = async (assignment: string, value: string) =>
    expect(await asOwner(`update ${assignment} where tenant_id = $1 returning 1`, [tenantId, value])).toHaveLength(1);
  await renamed('pipeline set name = $2', names.pipeline);
  await renamed('pipeline set live_version_hash = $2', names.versionHash);
  await renamed(
    `pipeline_version set hash = $2, plan = replace(plan::text, 'acme-sftp', '${names.endpoint}')::jsonb`,
    names.versionHash,
  );
  await renamed('connector_endpoint set name = $2', names.endpoint);
  await renamed('secret set name = $2', names.secret);
  return { ...filled, ...names };
}

import { type GraphQLField, getNamedType, isObjectType, isRequiredArgument } from 'graphql';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { apiSchema } from '../../api/schema/index.ts';
import { signInMutations } from '../../api/visitors.ts';
import { type IdKind, idPrefixes } from '../../schema/names.ts';
import { type GraphqlAnswer, startTestApi, type TestApi } from '../servers/api.ts';
import { digestsOf, type FilledTenant, fillTenant, tenantTables } from './filledTenant.ts';
import { alike, askAt, canariesIn, expectAlike } from './sameAnswers.ts';
import {
  type Arguments,
  argumentsFrom,
  type FillArguments,
  formsOf,
  partsOf,
  positions,
  type Wanted,
} from './schemaArguments.ts';
import { type Question, question } from './schemaQuestions.ts';

/*
 * Tenant A has a row in every table; tenant B drives the whole schema with the names and ids of those rows, and drives it
 * again with names that nobody has. No answer may tell the two apart, hold a text of A, or change a row of A. A field or
 * an argument that comes later is in here by itself, or turns this red until it is told what to be filled with.
 */

type Field = GraphQLField<unknown, unknown>;
const fieldsOf = (name: 'Query' | 'Mutation' | 'Subscription'): Field[] =>
  Object.values((apiSchema.getType(name) as NonNullable<ReturnType<typeof apiSchema.getQueryType>>).getFields());
const queries = fieldsOf('Query');
/** Those that make something come last: what they make in B must not stand for what is A's. */
const makes = /^(create(?!Ticket|UploadToken)|register|setSecret|apply|openWithTicketEx)/;
const mutations = fieldsOf('Mutation').toSorted(
  (one, other) => Number(makes.test(one.name)) - Number(makes.test(other.name)),
);
const byName = (fields: Field[]) => fields.map((field) => [field.name, field] as const);
const isWayIn = (field: Field) => (signInMutations as readonly string[]).includes(field.name);

let api: TestApi;
let ofA: FilledTenant;
let fill: FillArguments;
let siteOf: Record<'a' | 'b', string>;
/** What B's lists were before A had a row. */
const before = new Map<string, unknown>();

beforeAll(async () => {
  api = await startTestApi(null);
  const { origin } = new URL(api.url);
  siteOf = { a: `${origin}/t/tenant-a/graphql`, b: `${origin}/t/tenant-b/graphql` };
  // Its first use is noted in its row.
  await ask(api.keys.b, { query: '{ viewer { tenant } }', variables: {} });
  for (const field of queries.filter(({ args }) => !args.some(isRequiredArgument)))
    before.set(field.name, (await ask(api.keys.b, question('query', field, {}))).body);
  ofA = await fillTenant(api, api.database.tenants.a, api.keys.a, siteOf.a);
  fill = argumentsFrom(ofA);
});
afterAll(() => api?.close());

const ask = (key: string | null, asked: Question, url = api.url): Promise<GraphqlAnswer> => askAt(url, key, asked);
const ofAIn = (answer: Pick<GraphqlAnswer, 'body' | 'headers'>, variables: Arguments): string[] =>
  canariesIn(ofA.canaries, answer, variables);

describe('tenant A', () => {
  test('has a row in every table', async () => {
    const digests = await digestsOf(api.database, ofA.tenant.tenantId);
    expect(Object.keys(digests).sort()).toEqual([...(await tenantTables(api.database)), 'tenant'].sort());
    expect(Object.entries(digests).filter(([, digest]) => digest.startsWith('0 '))).toEqual([]);
  });
});

describe('a query of tenant B', () => {
  test.each(byName(queries.filter(({ name }) => name !== 'node')))(
    '%s answers as if A were not there',
    async (name, field) => {
      // Else the same arguments would find nothing of anybody, and B's answer prove nothing.
      let found = false;
      for (const parts of partsOf(field)) {
        const [named, nobodys] = [fill(field, 'ofTenant', parts), fill(field, 'ofNobody', parts)];
        const [one, other] = [question('query', field, named), question('query', field, nobodys)];
        const body = await expectAlike((asked) => ask(api.keys.b, asked), ofA.canaries, one, other);
        expect(body.errors, JSON.stringify(body.errors)).toBeUndefined();
        found = ofAIn(await ask(api.keys.a, one), {}).length > 0;
        expect(found || name === 'viewer', `A finds its own by ${[...parts]}`).toBe(true);
      }
      if (before.has(name)) {
        const now = await ask(api.keys.b, question('query', field, {}));
        expect(now.body).toEqual(before.get(name));
        found ||= ofAIn(await ask(api.keys.a, question('query', field, {})), {}).length > 0;
      }
      expect(found || name === 'viewer', 'A finds its own by them').toBe(true);
    },
  );

  test.each(Object.keys(idPrefixes) as IdKind[])('node finds no %s of A', async (kind) => {
    const field = apiSchema.getQueryType()!.getFields().node!;
    const own = await ask(api.keys.a, {
      query: 'query($id: ID!) { node(id: $id) { __typename } }',
      variables: { id: ofA.ids[kind] },
    });
    const only = own.body.data.node?.__typename;
    expect(only, 'A finds it').toBeTypeOf('string');
    const { body } = await ask(api.keys.b, question('query', field, { id: ofA.ids[kind] }, only));
    expect(body.errors).toBeUndefined();
    expect(body.data).toEqual({ node: null });
  });

  test('with a cursor of A meets rows of its own alone', async () => {
    for (const field of queries.filter(({ args }) => args.some(({ name }) => name === 'after'))) {
      const page = `{ ${field.name} { pageInfo { endCursor } } }`;
      const after = (await ask(api.keys.a, { query: page, variables: {} })).body.data[field.name].pageInfo.endCursor;
      expect(after, field.name).toBeTypeOf('string');
      const answer = await ask(api.keys.b, question('query', field, { after }));
      expect(answer.body.errors, field.name).toBeUndefined();
      expect(ofAIn(answer, {}), field.name).toEqual([]);
    }
  });

  test('has no arguments below its root but for the part of a list that is wanted', () => {
    const roots = ['Query', 'Mutation', 'Subscription'];
    const inner = Object.values(apiSchema.getTypeMap()).filter(
      (type) => isObjectType(type) && !roots.includes(type.name) && !type.name.startsWith('__'),
    );
    const others = inner.flatMap((type) =>
      isObjectType(type)
        ? Object.values(type.getFields()).flatMap(({ name, args }) =>
            args
              .filter((arg) => ![...positions, 'state'].includes(arg.name))
              .map((arg) => `${type.name}.${name}.${arg.name}`),
          )
        : [],
    );
    expect(others).toEqual([]);
    expect(getNamedType(apiSchema.getQueryType()!.getFields().runs!.type).name).toBe('RunConnection');
  });
});

test.each(byName(fieldsOf('Subscription')))(
  'the subscription %s of tenant B ends as for an id that nobody has',
  async (_, field) => {
    const watch = async (variables: Arguments) => {
      const headers = {
        authorization: `Bearer ${api.keys.b}`,
        'content-type': 'application/json',
        accept: 'text/event-stream',
      };
      const body = JSON.stringify(question('subscription', field, variables));
      const response = await fetch(api.url, { method: 'POST', headers, body });
      return { status: response.status, headers: response.headers, body: (await response.text()).split('\n') };
    };
    const [named, nobodys] = [fill(field, 'ofTenant'), fill(field, 'ofNobody')];
    const answer = await watch(named);
    expect(answer.body.join('\n')).toContain('NOT_FOUND');
    expect(ofAIn(answer, named)).toEqual([]);
    expect(alike(answer.body, named)).toEqual(alike((await watch(nobodys)).body, nobodys));
  },
);

/** By name, the mutations that could not find what B named. */
const notFoundByB = new Set<Field>();

describe('a mutation of tenant B', () => {
  test.each(byName(mutations))('%s answers as if A were not there, and changes nothing of A', async (name, field) => {
    const digests = await digestsOf(api.database, ofA.tenant.tenantId);
    const ways: Array<[string | null, string]> = [[api.keys.b, api.url]];
    if (isWayIn(field)) ways.push([null, siteOf.b]);
    for (const form of formsOf(field))
      for (const [key, url] of ways) {
        const [named, nobodys] = [fill(field, 'ofTenant', form), fill(field, 'ofNobody', form)];
        const [one, other] = [question('mutation', field, named), question('mutation', field, nobodys)];
        const asking = (asked: Question) => ask(key, asked, url);
        // What names nothing is about the caller's own tenant, and does twice what it does twice.
        const namesNothing = field.args.length === 0;
        const body = namesNothing ? (await asking(one)).body : await expectAlike(asking, ofA.canaries, one, other);
        expect(ofAIn({ body, headers: new Headers() }, named)).toEqual([]);
        expect(body.errors, JSON.stringify(body.errors)).toBeUndefined();
        const isFound = !/NotFound|SignInRefused/.test(body.data[name].__typename);
        if (isWayIn(field)) expect(isFound, `${name} lets nobody in`).toBe(false);
        if (!isFound) notFoundByB.add(field);
      }
    expect(await digestsOf(api.database, ofA.tenant.tenantId)).toEqual(digests);
  });

  test('would have found what it named, had it been of A', async () => {
    expect(notFoundByB.size).toBeGreaterThan(30);
    const last = /^(remove|revoke|disable|close)/;
    const found = async (field: Field, form: Wanted): Promise<string> => {
      const asked = question('mutation', field, fill(field, 'ofTenant', form));
      const { body } = isWayIn(field) ? await ask(null, asked, siteOf.a) : await ask(api.keys.a, asked);
      return body.data?.[field.name]?.__typename ?? JSON.stringify(body.errors);
    };
    const answers: Array<[string, string]> = [];
    const note = async (field: Field) => {
      for (const form of formsOf(field)) answers.push([field.name, await found(field, form)]);
    };
    const fields = [...notFoundByB];
    // What ends something comes after what needs it.
    for (const field of fields
      .filter(isWayIn)
      .toSorted((one, other) => Number(one.name === 'close') - Number(other.name === 'close')))
      await note(field);
    const others = fields.filter((field) => !isWayIn(field));
    await Promise.all(others.filter(({ name }) => !last.test(name)).map(note));
    for (const field of others.filter(({ name }) => last.test(name))) await note(field);
    expect(answers.filter(([, answer]) => /NotFound|SignInRefused|errors|message/.test(answer))).toEqual([]);
  });
});

import {
  type GraphQLField,
  type GraphQLInputType,
  getNamedType,
  isInputObjectType,
  isListType,
  isNonNullType,
} from 'graphql';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { apiSchema } from '../../api/schema/index.ts';
import { signInMutations } from '../../api/visitors.ts';
import { startTestApi, type TestApi } from '../servers/api.ts';
import { fillTenant } from '../wall/filledTenant.ts';
import { argumentsFrom, type FillArguments } from '../wall/schemaArguments.ts';
import { question } from '../wall/schemaQuestions.ts';
import { ask } from './asking.ts';

/*
 * Every text that the API takes, in every field, filled with what no text of anybody's holds: the answer is a refusal or
 * an empty one, as documented, and never a fault. A field that comes later is in here by itself.
 */

type Field = GraphQLField<unknown, unknown>;
const fields = (['Query', 'Mutation'] as const).flatMap((name) => {
  const root = name === 'Query' ? apiSchema.getQueryType()! : apiSchema.getMutationType()!;
  return Object.values(root.getFields())
    .filter((field) => textsOf(field).length > 0)
    .map((field) => [field.name, name.toLowerCase() as 'query' | 'mutation', field] as const);
});
const bad: Record<string, string> = {
  'a NUL': 'a\u0000b',
  'an escape': 'a\u001b[31mb',
  'half a character': 'a\ud800b',
  'an override of the direction': 'a\u202eb',
  '10,000 characters': 'x'.repeat(10_000),
  nothing: '',
};

/** Of a text that no row could hold, in what has no refusals of its own. */
const documented = ['INVALID_INPUT', 'GRAPHQL_VALIDATION_FAILED'];

let api: TestApi;
let siteUrl: string;
let fill: FillArguments;
beforeAll(async () => {
  api = await startTestApi(null);
  siteUrl = `${new URL(api.url).origin}/t/tenant-a/graphql`;
  fill = argumentsFrom(await fillTenant(api, api.database.tenants.a, api.keys.a, siteUrl));
});
afterAll(() => api?.close());

describe.each(fields)('%s', (name, operation, field) => {
  test('answers whatever text it is given, and nothing breaks', async () => {
    const before = api.errors.length;
    const tries = Object.entries(bad).flatMap(([what, text]) => textsOf(field).map((path) => ({ what, text, path })));
    // Together, for some wait for a Temporal that is not there.
    await Promise.all(
      tries.map(async ({ what, text, path }) => {
        const { status, body } = await ask(siteUrl, {
          ...question(operation, field, withText(fill(field, 'ofTenant'), path, text)),
          credential: (signInMutations as readonly string[]).includes(name) ? null : api.keys.a,
        });
        const place = `${path.join('.')} with ${what}: ${JSON.stringify(body)?.slice(0, 300)}`;
        expect(status, place).toBeLessThan(500);
        const codes = ((body.errors ?? []) as Array<{ extensions?: { code?: string } }>).map(
          ({ extensions }) => extensions?.code,
        );
        expect(
          codes.filter((code) => code === undefined || !documented.includes(code)),
          place,
        ).toEqual([]);
      }),
    );
    expect(api.errors.slice(before)).toEqual([]);
  });
});

/** The places of the texts among the arguments of a field. */
function textsOf(field: Field): string[][] {
  const below = (path: string[], type: GraphQLInputType): string[][] => {
    const bare = isNonNullType(type) ? type.ofType : type;
    if (isListType(bare)) return below([...path, '0'], bare.ofType);
    const named = getNamedType(type);
    if (isInputObjectType(named))
      return Object.values(named.getFields()).flatMap((part) => below([...path, part.name], part.type));
    return ['String', 'ID'].includes(named.name) ? [path] : [];
  };
  return field.args.flatMap(({ name, type }) => below([name], type));
}

function withText(variables: Record<string, unknown>, path: string[], text: string): Record<string, unknown> {
  const copy = structuredClone(variables);
  let place = copy;
  for (const step of path.slice(0, -1)) place = place[step] as Record<string, unknown>;
  place[path.at(-1)!] = text;
  return copy;
}

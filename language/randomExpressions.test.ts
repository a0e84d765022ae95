import { describe, expect, test } from 'vitest';
import { WaybillError } from '../schema/errors.ts';
import { chooseSeed, Random } from '../test/random.ts';
import { evaluate } from './evaluate.ts';
import { checkExpression, type ValueType } from './expressions.ts';
import { fileSetType, loopOutputType } from './scope.ts';

const seed = chooseSeed();
const expressions = 3_000;

const values = {
  inputs: {
    count: 3,
    ratio: 2.5,
    name: 'ORD_1.csv',
    on: true,
    list: [1, 2.5, 'x', null, { k: [1] }],
    map: { k: 1, z: 2.5 },
  },
  run: { date: '2026-03-01', startedAt: '2026-03-01T10:11:12.000Z' },
  steps: {
    list: {
      files: {
        ref: 'x',
        count: 2,
        bytes: 9_000_000_000,
        head: [
          { name: 'a', size: 1 },
          { name: 'b', size: 2 },
        ],
      },
    },
    each: { count: 2, failed: { count: 1, head: [{ item: { name: 'a' }, error: { kind: 'timeout', step: null } }] } },
  },
};
const scope = {
  roots: {
    inputs: { count: 'int', ratio: 'double', name: 'string', on: 'bool', list: 'list', map: 'map' },
    run: { date: 'string', startedAt: 'string' },
    steps: { list: { files: fileSetType }, each: loopOutputType({ name: 'string' }) },
  },
  allSteps: new Set(['list', 'each']),
} as const;

describe(`random expressions, seed ${seed}`, () => {
  const numbers = new Random(seed);
  const random = () => numbers.fraction();
  const made = Array.from({ length: expressions }, () => randomExpression(random, 4));

  test('give JSON or a refusal: never a BigInt, a date or another fault', () => {
    let given = 0;
    for (const cel of made) {
      const value = resultOf(cel);
      if (value === undefined) continue;
      given++;
      expect(JSON.parse(JSON.stringify(value)), cel).toEqual(value);
    }
    // Otherwise the test would show nothing.
    expect(given).toBeGreaterThan(expressions / 20);
  });

  test('that the checker accepts with a type give a value of that type', () => {
    let typed = 0;
    for (const cel of made) {
      const { type, mistakes } = checkExpression(cel, scope);
      if (mistakes.length > 0 || type === 'any') continue;
      const value = resultOf(cel);
      if (value === undefined) continue;
      typed++;
      expect(fits(value, type), `${cel} gives ${JSON.stringify(value)}, not ${type}`).toBe(true);
    }
    expect(typed).toBeGreaterThan(expressions / 50);
  });
});

function resultOf(cel: string): unknown {
  try {
    return evaluate(cel, values);
  } catch (error) {
    if (error instanceof WaybillError && error.kind === 'invalid') return undefined;
    throw new Error(`${cel} threw something else`, { cause: error });
  }
}

function fits(value: unknown, type: ValueType): boolean {
  const checks: Record<Exclude<ValueType, 'any'>, boolean> = {
    text: typeof value === 'string',
    integer: Number.isSafeInteger(value),
    number: typeof value === 'number',
    bool: typeof value === 'boolean',
    list: Array.isArray(value),
    mapping: typeof value === 'object' && value !== null && !Array.isArray(value),
    'file set': typeof value === 'object' && value !== null && 'ref' in value,
    null: value === null,
  };
  return type === 'any' || checks[type];
}

function randomExpression(random: () => number, depth: number): string {
  const pick = <Item>(items: readonly Item[]): Item => items[Math.floor(random() * items.length)]!;
  const part = () => randomExpression(random, depth - 1);
  if (depth === 0 || random() < 0.2) return pick(leaves);
  return pick([
    () => `${part()} ${pick(['+', '-', '*', '/', '%', '<', '==', '!=', '&&', '||', 'in', '>='])} ${part()}`,
    () => `(${part()})`,
    () => `${pick(['!', '-'])}${part()}`,
    () => `${part()} ? ${part()} : ${part()}`,
    () => `[${part()}, ${part()}]`,
    () => `{"a": ${part()}, "b": ${part()}}`,
    () => `${part()}.${pick(methods)}`,
    () => `${pick(['string', 'int', 'double', 'size', 'sum', 'timestamp', 'duration', 'lower', 'stem'])}(${part()})`,
    () => `[${part()}, ${part()}].${pick(macros)}`,
    () => `${part()}[${part()}]`,
    () => `${part()}.${pick(['k', 'files', 'first', 'count'])}`,
  ])();
}

const leaves = [
  ...[
    '1',
    '0',
    '-7',
    '9007199254740993',
    '2.5',
    '1e300',
    '"a"',
    '"2026-01-31"',
    'true',
    'null',
    '[]',
    '{}',
    '"5"',
    '3u',
  ],
  ...[
    'inputs.count',
    'inputs.ratio',
    'inputs.name',
    'inputs.on',
    'inputs.list',
    'inputs.map',
    'run.date',
    'run.startedAt',
  ],
  ...['steps.list.files', 'steps.list.files.count', 'steps.list.files.first(2)', 'steps.list.files.bytes'],
  ...['steps.each.failed.first(5)', 'steps.each.failed.count', 'steps.each'],
];
const methods = [
  ...['size()', 'upper()', 'split("_")', 'ext()', 'addDays(1)', 'formatDate("yyyy")', 'sum()', 'join(",")', 'first(1)'],
  ...['replace("a", "b")', 'getHours()', 'startsWith("a")', 'indexOf("a")', 'substring(1)', 'trim()', 'glob("*")'],
];
const macros = [
  ...['map(x, x)', 'filter(x, x == x)', 'all(x, x == 1)', 'exists(x, x == "a")', 'map(x, [x])', 'map(x, string(x))'],
  ...['map(x, x == 1, x)', 'exists_one(x, x == 2.5)', 'map(x, x + x).sum()'],
];

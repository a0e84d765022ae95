import { describe, expect, test } from 'vitest';
import { createRegistry } from '../../connectors/registry.ts';
import { check } from '../../language/check.ts';
import { formatFile } from '../../language/fmt.ts';
import { chooseSeed, Random } from '../random.ts';
import { corpus } from './corpusFiles.ts';

const connectors = createRegistry().definitions;
const megabyte = 1_048_576;
const header = 'pipeline: acme-orders\napiVersion: waybill/v1\n';

/**
 * Work that a usual machine does in `yardstickMs`: measured beside a check that seems slow, it tells a slow machine from a
 * slow check. A shape whose cost grows with its square is tens of times over the limit, and stays red everywhere.
 */
const yardstickMs = 50;
function yardstick(): void {
  const words = Array.from({ length: 40_000 }, (_, index) => `key-${index}`);
  for (let round = 0; round < 4; round++) JSON.parse(JSON.stringify(words.toSorted()));
}

function processorMs(work: () => void): number {
  const started = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(started);
  return (user + system) / 1000;
}

/** Fails when the work takes more of the processor than a usual machine does in so many milliseconds. What else the machine does is no matter. */
function within(milliseconds: number, work: () => void): void {
  const took = processorMs(work);
  if (took < milliseconds) return;
  const slowness = Math.max(1, ...[1, 2, 3].map(() => processorMs(yardstick) / yardstickMs));
  expect(took / slowness, `${took} ms on a machine ${slowness} times slower than usual`).toBeLessThan(milliseconds);
}

/** Checks a text as a file; fails when it throws or takes longer than a person waits. */
function checkWithin(text: string, milliseconds = 2_000) {
  let result: ReturnType<typeof check> | undefined;
  within(milliseconds, () => {
    result = check([{ file: 'x.yaml', text }], { connectors });
  });
  return result!;
}

/** Lays a text out as a file; fails when it throws or takes much longer than a check, which it does several times. */
function formatWithin(text: string): void {
  within(8_000, () => formatFile('x.yaml', text));
}

function fill(piece: string, size = megabyte): string {
  return piece.repeat(Math.floor(size / piece.length));
}

describe('no file takes long or throws', () => {
  const pieces = [
    ...[
      '[',
      ']',
      '{',
      '}',
      '- ',
      '? ',
      ': ',
      '{a: ',
      '"',
      "'",
      '@\n',
      '---\n',
      '--- a\n',
      '#\n',
      '&a ',
      '!t ',
      '*a ',
      '|',
      '>\n',
      ',',
      '%a\n',
      '- a\n',
      'a: b\n',
    ],
    ...[
      '\n',
      '\t',
      ' ',
      '\\',
      'a #',
      '${{ ',
      '}} ',
      '${{ inputs.a }}',
      '\r',
      '\r\n',
      '\u0000',
      '\ufeff',
      '\ud800',
      '😀',
      '-',
      'a:',
      'a: {b: ',
      '- - ',
      '? - ',
    ],
  ];
  test.each(pieces.map((piece) => [piece]))(
    '1 MiB of %j',
    (piece) => {
      checkWithin(fill(piece));
      checkWithin(`${header}steps: ${fill(piece, megabyte - 100)}`);
    },
    20_000,
  );

  test('more than 1 MiB is refused in one word', () => {
    const { diagnostics } = checkWithin(`${header}# ${'x'.repeat(megabyte)}`);
    expect(diagnostics.map(({ code }) => code)).toEqual(['FILE_TOO_LARGE']);
  });

  test('an alias bomb is refused', () => {
    const levels = Array.from(
      { length: 12 },
      (_, level) =>
        `  l${level}: &l${level} [${Array.from({ length: 12 }, () => (level === 0 ? 'x' : `*l${level - 1}`)).join(', ')}]`,
    );
    const { diagnostics } = checkWithin(`${header}labels:\n${levels.join('\n')}\n`);
    expect(diagnostics.map(({ code }) => code)).toContain('TOO_MANY_ALIASES');
  });

  test('thousands of steps and expressions', () => {
    const step = '  - { use: audit.write@1, with: { event: a.b, data: { k: "${{ run.id }}" } } }\n';
    expect(checkWithin(`${header}steps:\n${step.repeat(4_000)}`).ok).toBe(false);
    expect(checkWithin(`${header}steps:\n${step.repeat(10_000)}`).ok).toBe(false);
    expect(checkWithin(`${header}steps:\n${'- wait: 1s\n'.repeat(10_000)}`).ok).toBe(false);
    expect(checkWithin(`${header}steps:\n${'- use: audit.write@1\n'.repeat(10_000)}`).ok).toBe(false);
    const data = Array.from({ length: 9_000 }, (_, index) => `        k${index}: "\${{ run.id }}"`).join('\n');
    expect(
      checkWithin(`${header}steps:\n  - use: audit.write@1\n    with:\n      event: a.b\n      data:\n${data}\n`).ok,
    ).toBe(false);
  });

  test('thousands of mistakes, of which the first 200 are told', () => {
    const keys = Array.from({ length: 5_000 }, (_, index) => `unknown${index}: 1\n`).join('');
    const { diagnostics } = checkWithin(`${header}${keys}`);
    expect(diagnostics.length).toBe(201);
    expect(diagnostics.some(({ code }) => code === 'TOO_MANY_MISTAKES')).toBe(true);
  });

  test('long expressions, globs and names', () => {
    const texts = [
      `\${{ ${'('.repeat(2000)}1${')'.repeat(2000)} }}`,
      `\${{ ${'!'.repeat(4000)}true }}`,
      `\${{ ${'1+'.repeat(2000)}1 }}`,
      `\${{ ${'x'.repeat(900_000)} }}`,
    ];
    for (const text of texts)
      expect(
        checkWithin(`${header}steps: [ { use: audit.write@1, with: { event: a.b, data: { k: "${text}" } } } ]\n`).ok,
      ).toBe(false);
    for (const glob of ['{a,'.repeat(1000), '*'.repeat(4000), '[a'.repeat(1000), `/${'{a,b}'.repeat(700)}`]) {
      checkWithin(
        `${header}endpoints: { partner: acme-sftp }\nsteps: [ { use: files.list@1, with: { from: { endpoint: partner, glob: "${glob}" } } } ]\n`,
      );
    }
  });
});

describe('shapes that grow', () => {
  const nested = (open: string, close: string, depth: number) =>
    `${open.repeat(depth)}{ wait: 1s }${close.repeat(depth)}`;

  test.each([
    ['huge keys', `${'k'.repeat(500_000)}: 1\n"${'q'.repeat(400_000)}": 2\n`],
    [
      'a thousand keys of a kilobyte',
      Array.from({ length: 1_000 }, (_, index) => `${'k'.repeat(900)}${index}: 1\n`).join(''),
    ],
    ['a line of a megabyte', `description: ${'word '.repeat(200_000)}\n`],
    [
      'a long line of small values',
      `labels: { ${Array.from({ length: 20_000 }, (_, index) => `k${index}: v`).join(', ')} }\n`,
    ],
    ['steps in steps', `steps: [ ${nested('{ steps: [ ', ' ] }', 60)} ]\n`],
    ['loops in loops', `steps: [ ${nested('{ forEach: "[1]", steps: [ ', ' ] }', 30)} ]\n`],
    ['branches in branches', `steps: [ ${nested('{ parallel: [ ', ' ] }', 30)} ]\n`],
    ['waits in waits', `steps: [ ${nested('{ wait: { until: "true", every: 1s, steps: [ ', ' ] } }', 15)} ]\n`],
    ['errors of errors', `steps: [ ${nested('{ wait: 1s, onError: [ ', ' ] }', 30)} ]\n`],
    [
      'lists in block style',
      `steps:\n${Array.from({ length: 500 }, (_, depth) => `${'  '.repeat(depth)}- \n`).join('')}`,
    ],
    [
      'thousands of variables',
      `vars: { ${Array.from({ length: 8_000 }, (_, index) => `v${index}: "\${{ run.id }}"`).join(', ')} }\nsteps: []\n`,
    ],
    ['an alias of itself', 'labels: &a { b: *a }\nsteps: &s [ *s ]\n'],
    ['aliases of each other', 'labels: { a: &a [ *b ], b: &b [ *a ] }\nsteps: []\n'],
    ['thousands of aliases', `labels: { a: &a x${', k: *a'.repeat(10_000)} }\nsteps: []\n`],
    ['thousands of texts with a colon', `${'description: one: two\n'.repeat(5_000)}`],
    ['thousands of keys without a blank', `${'key:value\n'.repeat(5_000)}steps: []\n`],
    ['quotes that are never closed', `${'a: "x\n'.repeat(5_000)}`],
  ])(
    '%s',
    (_, body) => {
      const { ok } = checkWithin(`${header}${body}`);
      expect(ok).toBe(false);
      formatWithin(`${header}${body}`);
    },
    20_000,
  );
});

describe('random bytes', () => {
  const seed = chooseSeed();
  const numbers = new Random(seed);
  const random = () => numbers.fraction();

  test(`never throw (seed ${seed})`, () => {
    for (let round = 0; round < 300; round++) {
      checkWithin(
        Array.from({ length: Math.floor(random() * 400) }, () => String.fromCharCode(Math.floor(random() * 256))).join(
          '',
        ),
      );
    }
  });

  test(`in the place of parts of good and bad files never throw (seed ${seed})`, () => {
    const files = [...corpus('good'), ...corpus('bad')];
    const insertions = [
      '',
      '"',
      "'",
      '{',
      '}',
      '[',
      ']',
      ':',
      ' ',
      '\n',
      '\t',
      '${{',
      '}}',
      '*',
      '&a',
      '- ',
      '? ',
      '|',
      '\u0000',
      'null',
      '5',
      '{}',
      '[]',
      '..',
      '%',
    ];
    for (let round = 0; round < 1_000; round++) {
      const { text } = files[Math.floor(random() * files.length)]!;
      const at = Math.floor(random() * text.length);
      const gap = Math.floor(random() * 12);
      const mutated = text.slice(0, at) + insertions[Math.floor(random() * insertions.length)]! + text.slice(at + gap);
      checkWithin(mutated);
      if (round % 5 === 0) formatWithin(mutated);
    }
  }, 60_000);
});

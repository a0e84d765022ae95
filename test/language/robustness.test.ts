import { describe, expect, test } from 'vitest';
import { createRegistry } from '../../connectors/registry.ts';
import { check } from '../../language/check.ts';
import { corpus } from './corpusFiles.ts';
import { randomNumbers } from './random.ts';

const connectors = createRegistry().definitions;
const megabyte = 1_048_576;
const header = 'pipeline: acme-orders\napiVersion: waybill/v1\n';

/** Checks a text as a file; fails when it throws or takes longer than a person waits. Counted is the processor's time: what else the machine does is no matter. */
function checkWithin(text: string, milliseconds = 2_000) {
  const started = process.cpuUsage();
  const result = check([{ file: 'x.yaml', text }], { connectors });
  const { user, system } = process.cpuUsage(started);
  expect((user + system) / 1000).toBeLessThan(milliseconds);
  return result;
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

describe('random bytes', () => {
  const random = randomNumbers(42);

  test('never throw', () => {
    for (let round = 0; round < 300; round++) {
      checkWithin(
        Array.from({ length: Math.floor(random() * 400) }, () => String.fromCharCode(Math.floor(random() * 256))).join(
          '',
        ),
      );
    }
  });

  test('in the place of parts of good and bad files never throw', () => {
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
      checkWithin(text.slice(0, at) + insertions[Math.floor(random() * insertions.length)]! + text.slice(at + gap));
    }
  }, 60_000);
});

import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { corpus } from '../test/language/corpusFiles.ts';
import { chooseSeed, Random } from '../test/random.ts';
import { contentHash } from './contentHash.ts';
import { commentsOf, formatFile } from './fmt.ts';
import { parseSource } from './source.ts';

const header = 'pipeline: acme-orders\napiVersion: waybill/v1\n';

describe('the layout', () => {
  test('puts keys in the order of the reference, two blanks a level, quotes where they are needed', () => {
    const text = [
      '# yaml-language-server: $schema=../schema/pipeline.v1.json',
      "apiVersion: 'waybill/v1'",
      'steps:',
      '    - with: {to: \'landing:/acme/\', from: "partner:/out/*.csv"}',
      '      onError:',
      '          - with: {event: "orders.stuck"}',
      '            use: audit.write@1',
      '      use: "transfer.copy@1"',
      '      retry: {max: 5m, for: 3h}',
      '      id:   orders',
      "pipeline: 'acme-orders'",
      'labels: {a: "yes", b: "12", c: \'it"s\', d: "x: y", e: "free text"}',
      '',
    ].join('\n');
    expect(laidOut(text)).toBe(
      [
        '# yaml-language-server: $schema=../schema/pipeline.v1.json',
        '',
        'pipeline: acme-orders',
        'apiVersion: waybill/v1',
        'labels: { a: "yes", b: "12", c: \'it"s\', d: "x: y", e: free text }',
        'steps:',
        '  - id: orders',
        '    use: transfer.copy@1',
        '    with: { from: "partner:/out/*.csv", to: "landing:/acme/" }',
        '    retry: { for: 3h, max: 5m }',
        '    onError:',
        '      - use: audit.write@1',
        '        with: { event: orders.stuck }',
        '',
      ].join('\n'),
    );
  });

  test('keeps comments at what they are about, and one blank line where there were some', () => {
    const text = [
      '# about the file',
      '',
      '# about the steps',
      'steps:',
      '  # the first',
      '  - use: audit.write@1 # does',
      '    # its id',
      '    id: first   ',
      '    with: {event: a.b, # inside',
      '      data: {}}',
      '',
      '',
      '  # the second',
      '  - use: audit.write@1',
      '    with: { event: a.b }',
      '  # at the end',
      '# the name',
      'pipeline: acme-orders',
      'apiVersion: waybill/v1 # fixed',
      '# the last',
      '',
    ].join('\n');
    expect(laidOut(text)).toBe(
      [
        '# about the file',
        '',
        '# the name',
        'pipeline: acme-orders',
        'apiVersion: waybill/v1 # fixed',
        '# about the steps',
        'steps:',
        '  # the first',
        '  # its id',
        '  - id: first',
        '    use: audit.write@1 # does',
        '    with:',
        '      event: a.b # inside',
        '      data: {}',
        '',
        '  # the second',
        '  - use: audit.write@1',
        '    with: { event: a.b }',
        '  # at the end',
        '',
        '# the last',
        '',
      ].join('\n'),
    );
  });

  test('unfolds what is longer than 120 columns, and only that', () => {
    const data = Array.from({ length: 8 }, (_, index) => `key${index}: "\${{ run.id }}"`).join(', ');
    const text = `${header}steps:\n  - use: audit.write@1\n    with: { event: a.b, data: { ${data} } }\n`;
    const formatted = laidOut(text);
    expect(formatted).toContain('    with:\n      event: a.b\n      data:\n        key0: "${{ run.id }}"\n');
    expect(laidOut(text.replace(data, 'key0: x'))).toContain('with: { event: a.b, data: { key0: x } }');
  });

  test('keeps block texts, numbers as they are written, anchors before their aliases, and several documents', () => {
    const texts = [
      `${header}description: |\n  one\n    two\nsteps: [ { use: audit.write@1, with: { event: a.b } } ]\n`,
      `${header}steps:\n  - use: audit.write@1\n    with: { event: a.b, data: { n: 0x1F, f: 1.50, t: True, e: ~ } }\n`,
      `${header}steps:\n  - retry: &patient { for: 1h }\n    use: audit.write@1\n    with: { event: a.b }\n  - use: audit.write@1\n    with: { event: a.b }\n    retry: *patient\n`,
      `steps:\n  - { use: audit.write@1, with: { event: a.b }, retry: &r { for: 1h } }\ndefaults: { retry: *r }\n${header}`,
      `---\n${header}steps: []\n---\n# other\nwebhook: orders\napiVersion: waybill/v1\n...\n`,
    ];
    for (const text of texts) expectSame('x.yaml', text);
    expect(laidOut(texts[1]!)).toContain('{ n: 0x1f, f: 1.50, t: True, e: ~ }');
    expect(laidOut(texts[0]!)).toContain('description: |\n  one\n    two\n');
  });

  test('keeps the line breaks of the file, and drops a byte order mark', () => {
    const formatted = laidOut(`\ufeff${header}steps:   []\n`.replaceAll('\n', '\r\n'));
    expect(formatted).toBe(`${header}steps: []\n`.replaceAll('\n', '\r\n'));
  });

  test('is left alone where a file is not ours, and where it cannot be read, with the mistakes', () => {
    expect(formatFile('x.yaml', 'services: { web: 1 }\n')).toMatchObject({ state: 'left alone' });
    expect(formatFile('x.test.yaml', header)).toMatchObject({ state: 'left alone' });
    expect(formatFile('x.yaml', `${header}steps: [\n`)).toMatchObject({
      state: 'broken',
      diagnostics: [{ code: 'YAML_SYNTAX', line: 4 }],
    });
    expect(formatFile('x.yaml', `${header}apiVersion: waybill/v1\n`)).toMatchObject({
      state: 'broken',
      diagnostics: [{ code: 'DUPLICATE_KEY' }],
    });
  });
});

describe('no meaning and no comment is lost', () => {
  const examples = readdirSync(new URL('../pipelines/', import.meta.url))
    .filter((name) => name.endsWith('.yaml'))
    .map((file) => ({ file, text: readFileSync(new URL(`../pipelines/${file}`, import.meta.url), 'utf8') }));

  test('in any file of the corpus and any example', () => {
    let formatted = 0;
    for (const { file, text } of [...corpus('good'), ...corpus('bad'), ...examples])
      formatted += expectSame(file, text);
    expect(formatted).toBeGreaterThan(40);
  });

  test('and the examples are laid out already', () => {
    for (const { file, text } of examples) expect([file, laidOut(text)]).toEqual([file, text]);
  });

  const seed = chooseSeed();
  test(`in 100 random documents (seed ${seed})`, () => {
    const numbers = new Random(seed);
    const random = () => numbers.fraction();
    let formatted = 0;
    for (let round = 0; round < 100; round++) formatted += expectSame('x.yaml', randomDocument(random));
    expect(formatted).toBeGreaterThan(60);
  }, 30_000);
});

/** Fails when laying out changes the meaning, the comments or what is laid out already. Gives 1 when the file was laid out. */
function expectSame(file: string, text: string): 0 | 1 {
  const first = formatFile(file, text);
  if (first.state !== 'formatted') return 0;
  const place = `${file}\n${text}`;
  expect([place, meaning(first.text)]).toEqual([place, meaning(text)]);
  expect([place, commentsOf(first.text).sort()]).toEqual([place, commentsOf(text.replace(/^\ufeff/, '')).sort()]);
  expect(formatFile(file, first.text)).toEqual(first);
  return 1;
}

function laidOut(text: string): string {
  const formatted = formatFile('x.yaml', text);
  if (formatted.state !== 'formatted') throw new Error(JSON.stringify(formatted));
  return formatted.text;
}

function meaning(text: string): string[] {
  const { documents, report } = parseSource('x.yaml', text);
  expect(report.diagnostics).toEqual([]);
  return documents.map(({ root }) => contentHash(root.value));
}

/** A document of ours with values, styles, comments and blank lines at random. */
function randomDocument(random: () => number): string {
  const pick = <Item>(items: readonly Item[]): Item => items[Math.floor(random() * items.length)]!;
  const comment = () => (random() < 0.3 ? ` # ${pick(['why', 'a: b', '- x', '"q', '${{ x }}'])}` : '');
  const between = (indent: string) => pick(['', '', '', '\n', `${indent}# alone\n`, `\n${indent}# after a blank\n`]);
  const scalars = [
    'plain',
    '"quoted"',
    "'it''s'",
    '"yes"',
    '"1"',
    '12',
    '0x1f',
    'true',
    '~',
    '"a # b"',
    '"${{ run.id }}"',
    '"tab\\there"',
    '"two\\nlines"',
    'two words',
    '"x: y"',
    "''",
  ];
  const flow = (depth: number): string => {
    const kind = depth > 2 ? 0 : random();
    if (kind < 0.5) return pick(scalars);
    const items = Array.from({ length: Math.floor(random() * 4) }, (_, index) =>
      kind < 0.75 ? `k${index}: ${flow(depth + 1)}` : flow(depth + 1),
    );
    return kind < 0.75 ? `{${items.join(', ')}}` : `[ ${items.join(',')} ]`;
  };
  const value = (indent: string, depth: number): string => {
    const kind = random();
    if (depth > 3 || kind < 0.3) return ` ${pick(scalars)}${comment()}\n`;
    if (kind < 0.45) return ` ${flow(0)}${comment()}\n`;
    if (kind < 0.55)
      return ` ${pick(['|', '>', '|-', '>+'])}\n${indent}  text one\n\n${indent}  # text\n${indent}    more\n`;
    const step = indent + pick(['  ', '    ', ' ']);
    const keys = ['use', 'id', 'with', 'to', 'from', 'retry', 'steps', 'name'].toSorted(() => random() - 0.5);
    const items = keys.slice(0, 1 + Math.floor(random() * 4));
    if (kind < 0.8)
      return `${comment()}\n${items.map((key) => `${between(step)}${step}${key}:${value(step, depth + 1)}`).join('')}`;
    return `${comment()}\n${items.map(() => `${between(step)}${step}-${value(`${step}`, depth + 1)}`).join('')}`;
  };
  const keys = ['steps', 'pipeline', 'labels', 'apiVersion', 'finally', 'unknown'].toSorted(() => random() - 0.5);
  const fixed: Record<string, string> = {
    pipeline: ` acme-orders${comment()}\n`,
    apiVersion: ` waybill/v1${comment()}\n`,
  };
  return keys.map((key) => `${between('')}${key}:${fixed[key] ?? value('', 0)}`).join('');
}

import { describe, expect, test } from 'vitest';
import { WaybillError } from '../schema/errors.ts';
import { evaluate, evaluateCondition, fill } from './evaluate.ts';

const scope = {
  inputs: {
    count: 3,
    ratio: 2.5,
    name: 'a b',
    list: [1, 2, 3],
    map: { constructor: 'mine', k: 1 },
    big: 5_000_000_000,
  },
  file: { endpoint: 'acme-sftp', path: '/out/ORD_1.tar.gz', name: 'ORD_1.tar.gz', size: 10, modified: null },
  run: { id: 'run_1', date: '2026-03-01', startedAt: '2026-03-01T10:11:12.000Z' },
  steps: {
    list: { files: { ref: 'x', count: 5, bytes: 50, head: [{ name: 'a.csv' }, { name: 'b.csv' }, { name: 'c.csv' }] } },
    empty: { files: { ref: 'y', count: 0, bytes: 0 } },
    each: { count: 9, failed: { count: 4, head: [{ item: { name: 'a.csv' }, error: { kind: 'integrity' } }] } },
    skipped: null,
  },
  vars: { half: 2.5, ports: [22, 2222] },
};

describe('an expression', () => {
  const cases: Array<[cel: string, value: unknown]> = [
    ['1 + 2', 3],
    ['inputs.count * 2.5', 7.5],
    ['inputs.ratio * 2', 5],
    ['inputs.count == 3.0', true],
    ['inputs.big + 1', 5_000_000_001],
    ['inputs.list.map(x, x * 2).sum()', 12],
    ['sum([1, 2.5])', 3.5],
    ['inputs.list == [1, 2, 3]', true],
    ['2 in inputs.list', true],
    ['inputs.map.constructor', 'mine'],
    ['inputs.map', { constructor: 'mine', k: 1 }],
    ['inputs["count"]', 3],
    ['[1, "a", 2.5, {"k": [null]}]', [1, 'a', 2.5, { k: [null] }]],
    ['inputs.name.replace(" ", "_").upper()', 'A_B'],
    ['inputs.name.split(" ").join("-")', 'a-b'],
    ['lower("ÀB") + trim(" x ")', 'àbx'],
    ['file.name.stem()', 'ORD_1.tar'],
    ['ext(file.name)', '.gz'],
    ['"README".ext() + ".profile".ext()', ''],
    ['file.path.basename()', 'ORD_1.tar.gz'],
    ['file.path.folder()', '/out'],
    ['"/a.csv".folder() + "a.csv".folder() + "/a/b/".folder()', '//a'],
    ['file.name.glob("ORD_*.gz") && !glob(file.name, "*.csv")', true],
    ['file.modified == null', true],
    ['run.date.addDays(-1)', '2026-02-28'],
    ['addDays(run.startedAt, 1)', '2026-03-02T10:11:12.000Z'],
    [`formatDate(run.startedAt, "yyyyMMdd'T'HHmmss")`, '20260301T101112'],
    ['run.date.formatDate("DD/MM/YYYY")', '01/03/2026'],
    ['timestamp(run.startedAt) - duration("90s")', '2026-03-01T10:09:42.000Z'],
    ['duration("1h30m") == duration("90m")', true],
    ['duration("7d")', '604800s'],
    ['timestamp(run.startedAt).getHours()', 10],
    ['has(inputs.none)', false],
    ['has(steps.other)', false],
    ['has(steps.skipped.files)', false],
    ['steps.skipped == null', true],
    ['steps.skipped.files', null],
    ['steps.never.failed.count', null],
    ['steps.list.files.first(2).map(f, f.name)', ['a.csv', 'b.csv']],
    ['first(steps.list.files, 100).size()', 3],
    ['steps.each.failed.first(3).map(f, f.item.name + " " + f.error.kind)', ['a.csv integrity']],
    ['steps.never.failed.first(3)', null],
    ['steps.skipped.files.first(3)', null],
    ['steps.empty.files.first(3)', []],
    ['[1, 2, 3].first(2)', [1, 2]],
    ['inputs.list.first(100)', [1, 2, 3]],
    ['vars.half * 2 + vars.ports[0]', 27],
  ];
  test.each(cases)('%s', (cel, value) => {
    expect(evaluate(cel, scope)).toEqual(value);
  });

  const refusals: Array<[cel: string, words: string]> = [
    ['inputs.none', 'there is no field `none`'],
    ['nothing', 'unknown variable: nothing'],
    ['1 / 0', 'division by zero'],
    ['1.0 / 0.0', 'gives Infinity'],
    ['9223372036854775807', 'beyond 2^53'],
    ['"x" + inputs.count', 'no operator takes string + int'],
    ['"a".matches("b")', 'matches() is not allowed'],
    ['now()', 'now() is not allowed'],
    ['timestamp("2026-01-01T00:00:00.000")', 'a time with its zone'],
    ['timestamp("2026-02-30T00:00:00Z")', 'not a day of the calendar'],
    ['timestamp(run.startedAt).getHours("Europe/Paris")', 'with a time zone is not allowed'],
    ['b"x"', 'JSON cannot carry'],
    ['string', 'JSON cannot carry'],
    ['cel.bind(x, 1, x)', 'no function bind()'],
    ['', 'is empty'],
    ['1 +', 'ends too early'],
    [`${'['.repeat(3000)}`, 'nested too deeply'],
    [`${'-'.repeat(3000)}1`, 'too many parts'],
    [`"${'x'.repeat(5000)}"`, 'more than 4096 characters'],
    ['steps.never.failed.count + 1', 'there is no field `failed`'],
    ['inputs.list.first(0)', 'a number that is written out, from 1 to 100'],
    ['inputs.list.first(101)', 'a number that is written out, from 1 to 100'],
    ['inputs.list.first(inputs.count)', 'a number that is written out, from 1 to 100'],
    ['inputs.map.first(1)', 'takes a list, a file set or the failed items of a loop'],
  ];
  test.each(refusals)('%s is refused', (cel, words) => {
    expect(() => evaluate(cel, scope)).toThrow(WaybillError);
    expect(() => evaluate(cel, scope)).toThrow(words);
  });

  test('gives the same again and again', () => {
    const results = Array.from({ length: 50 }, () => evaluate('inputs.list.filter(x, x > 1).map(x, x * 2)', scope));
    expect(new Set(results.map((result) => JSON.stringify(result)))).toEqual(new Set(['[4,6]']));
  });

  test('gives no -0, which JSON would not keep', () => {
    expect(Object.is(evaluate('-1.0 * 0.0', scope), 0)).toBe(true);
  });

  test('cannot reach what belongs to JavaScript', () => {
    for (const cel of [
      'inputs.map.__proto__',
      'inputs.toString',
      'inputs.list.length',
      'run.hasOwnProperty',
      'file["valueOf"]',
    ]) {
      expect(() => evaluate(cel, scope), cel).toThrow(WaybillError);
    }
  });
});

describe('an expression that would take long or much', () => {
  const large = { inputs: { list: Array.from({ length: 1000 }, (_, index) => index), text: 'x'.repeat(60_000) } };
  const cases: Array<[cel: string, words: string]> = [
    ['inputs.list.map(a, inputs.list.map(b, inputs.list.map(c, 1)))', 'takes more than 200000 steps'],
    ['inputs.list.all(a, inputs.list.all(b, inputs.list.all(c, true)))', 'takes more than 200000 steps'],
    ['inputs.list.map(a, inputs.list.map(b, inputs.list.map(c, inputs.list.map(d, d))))', 'nested more than 3 deep'],
    ['inputs.text + inputs.text', 'makes a text of more than 65536 characters'],
    ['inputs.list.map(a, inputs.text).join("")', 'more than 65536 characters'],
    ['inputs.text.replace("x", inputs.text)', 'more than 65536 characters'],
    ['inputs.text.split("")', 'reads or makes a list of more than 10000 elements'],
    ['inputs.list.map(a, inputs.text)', 'more than 1048576 characters of JSON'],
    ['glob(inputs.text, "*a*a*a*a*b")', 'glob() takes a text of 1024'],
  ];
  test.each(cases)('%s is stopped within a second', (cel, words) => {
    const started = performance.now();
    expect(() => evaluate(cel, large)).toThrow(words);
    expect(performance.now() - started).toBeLessThan(1000);
  });
});

describe('an expression over rows', () => {
  const rows = (count: number) => ({ rows: Array.from({ length: count }, (_, size) => ({ size })) });

  test('takes 10,000 of them', () => {
    expect(evaluate('rows.map(row, row.size * 2).sum()', rows(10_000))).toBe(99_990_000);
  });

  test.each([
    ['rows.all(row, row.size >= 0)', 10_001, 'reads or makes a list of more than 10000 elements; loop with forEach'],
    [
      'rows.all(row, rows.exists(other, other.size > row.size))',
      10_000,
      'it loops over too many values; loop with forEach',
    ],
  ])('and says so when %s takes more', (cel, count, words) => {
    const started = performance.now();
    expect(() => evaluate(cel, rows(count))).toThrow(words);
    expect(performance.now() - started).toBeLessThan(2_000);
  });
});

describe('a condition', () => {
  test('gives true or false', () => {
    expect(evaluateCondition('inputs.count > 2', scope)).toBe(true);
  });

  test('is refused when it gives something else', () => {
    expect(() => evaluateCondition('inputs.count', scope)).toThrow('gives a number, not true or false');
  });
});

describe('fill', () => {
  test('keeps the type of a text that is exactly one expression', () => {
    expect(fill({ n: '${{ inputs.count }}', l: ' ${{ inputs.list }} ', t: '${{ file.modified }}' }, scope)).toEqual({
      n: 3,
      l: [1, 2, 3],
      t: null,
    });
  });

  test('writes values out inside a longer text, null as nothing', () => {
    expect(fill('a ${{ inputs.count }} b ${{ file.modified }}c ${{ 1 < 2 }}', scope)).toBe('a 3 b c true');
  });

  test('refuses a list inside a text', () => {
    expect(() => fill('a ${{ inputs.list }}', scope)).toThrow('a list, which cannot stand inside a text');
  });

  test('reads braces and quotes of CEL', () => {
    expect(fill(['${{ {"a": {"b": 1}} }}', `\${{ '}}' }}`, '${{ "\\"}}" }}!'], scope)).toEqual([
      { a: { b: 1 } },
      '}}',
      '"}}!',
    ]);
  });

  test('never reads what an expression gave as a template', () => {
    const hostile = { file: { name: '${{ inputs.secret }}.csv' }, inputs: { secret: 'x' } };
    expect(fill({ path: '/in/${{ file.name }}', name: '${{ file.name }}' }, hostile)).toEqual({
      path: '/in/${{ inputs.secret }}.csv',
      name: '${{ inputs.secret }}.csv',
    });
  });
});

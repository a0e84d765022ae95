import type { Json } from '../schema/plan.ts';

/** One function of expressions, as the reference and `waybill explain` tell it. */
export interface FunctionEntry {
  name: string;
  /** `text.split(text): list`; one that begins with its own name has no receiver. */
  signatures: readonly string[];
  summary: string;
  /** Over `exampleScope`. */
  example: string;
  gives: Json;
}

/** What the examples name. */
export const exampleScope = {
  run: { id: 'run_1', pipeline: 'acme-orders', date: '2026-11-02', startedAt: '2026-11-02T06:30:15.250Z' },
  file: { endpoint: 'acme-sftp', path: '/out/ORD_1.csv', name: 'ORD_1.csv', size: 10, modified: null },
  steps: {
    list: {
      files: { ref: 'fs_1', count: 2, bytes: 17, head: [{ name: 'ORD_1.csv' }, { name: 'ORD_2.csv' }] },
    },
  },
};

/** All of them: a test holds it against `allowedFunctions`, and evaluates each example. */
export const functionReference: readonly FunctionEntry[] = [
  entry('size', ['size(text | list | map): integer', '.size()'], 'How many characters, elements or keys.', [
    'size("abc")',
    3,
  ]),
  entry('string', ['string(value): text'], 'A value as text.', ['string(5) + "%"', '5%']),
  entry('int', ['int(text | number): integer'], 'A whole number; decimals are cut off.', ['int("42") + 1', 43]),
  entry('double', ['double(text | integer): number'], 'A number with decimals.', ['double(1) / 4.0', 0.25]),
  entry('bool', ['bool(text): bool'], 'The text true or false as a value.', ['bool("true")', true]),
  entry('has', ['has(name.field): bool'], 'Whether the field is there; of a step that was skipped: false.', [
    'has(steps.other)',
    false,
  ]),
  entry('timestamp', ['timestamp(text | seconds): time'], 'A time, of a date or a text with its zone.', [
    'timestamp("2026-11-02T07:00:00+01:00")',
    '2026-11-02T06:00:00.000Z',
  ]),
  entry('duration', ['duration(text): duration'], 'A duration, to add to a time or take from it.', [
    'timestamp(run.startedAt) + duration("1h30m")',
    '2026-11-02T08:00:15.250Z',
  ]),
  entry('all', ['list.all(x, condition): bool'], 'Whether the condition holds for every element.', [
    '[1, 2].all(x, x > 0)',
    true,
  ]),
  entry('exists', ['list.exists(x, condition): bool'], 'Whether it holds for one element or more.', [
    '[1, 2].exists(x, x > 1)',
    true,
  ]),
  entry('exists_one', ['list.exists_one(x, condition): bool'], 'Whether it holds for exactly one element.', [
    '[1, 2, 2].exists_one(x, x == 2)',
    false,
  ]),
  entry(
    'map',
    ['list.map(x, value): list', 'list.map(x, condition, value): list'],
    'A value for each element, or for each that the condition holds for.',
    ['[1, 2, 3].map(x, x > 1, x * 10)', [20, 30]],
  ),
  entry('filter', ['list.filter(x, condition): list'], 'The elements that the condition holds for.', [
    '[1, 2, 3].filter(x, x != 2)',
    [1, 3],
  ]),
  entry('sum', ['list.sum(): number', 'sum(list): number'], 'The sum of numbers; 0 of none.', ['[1, 2.5].sum()', 3.5]),
  entry('join', ['list.join(text): text'], 'Texts with another text between them.', ['["a", "b"].join("-")', 'a-b']),
  entry(
    'first',
    ['list.first(n): list', 'files.first(n): list', 'failed.first(n): list'],
    'The first n elements of a list, rows of a file set, or failed items of a loop; n is written out, 1 to 100.',
    ['steps.list.files.first(1).map(f, f.name)', ['ORD_1.csv']],
  ),
  entry('startsWith', ['text.startsWith(text): bool'], 'Whether it begins so.', ['file.name.startsWith("ORD_")', true]),
  entry('endsWith', ['text.endsWith(text): bool'], 'Whether it ends so.', ['file.name.endsWith(".xml")', false]),
  entry('contains', ['text.contains(text): bool'], 'Whether it holds the other text.', [
    'file.path.contains("/out/")',
    true,
  ]),
  entry(
    'indexOf',
    ['text.indexOf(text): integer', 'text.indexOf(text, from): integer'],
    'Where it first stands, from 0; -1 when it does not.',
    ['"a-b-c".indexOf("-")', 1],
  ),
  entry(
    'lastIndexOf',
    ['text.lastIndexOf(text): integer', 'text.lastIndexOf(text, from): integer'],
    'Where it last stands; -1 when it does not.',
    ['"a-b-c".lastIndexOf("-")', 3],
  ),
  entry(
    'substring',
    ['text.substring(from): text', 'text.substring(from, to): text'],
    'The characters from one place up to, not with, another.',
    ['"ORD_1".substring(0, 3)', 'ORD'],
  ),
  entry('split', ['text.split(text): list', 'text.split(text, most): list'], 'The parts between a text.', [
    '"a,b".split(",")',
    ['a', 'b'],
  ]),
  entry('trim', ['text.trim(): text'], 'Without blanks at both ends.', ['" a ".trim()', 'a']),
  entry('lower', ['text.lower(): text'], 'In lower case.', ['"ORD".lower()', 'ord']),
  entry('upper', ['text.upper(): text'], 'In upper case.', ['"ord".upper()', 'ORD']),
  entry('replace', ['text.replace(from, to): text'], 'Every occurrence replaced.', [
    '"a b c".replace(" ", "_")',
    'a_b_c',
  ]),
  entry('stem', ['path.stem(): text'], 'The file name without its last extension.', ['file.path.stem()', 'ORD_1']),
  entry('ext', ['path.ext(): text'], 'The last extension with its dot; empty when there is none.', [
    'file.path.ext()',
    '.csv',
  ]),
  entry('basename', ['path.basename(): text'], 'The file name.', ['file.path.basename()', 'ORD_1.csv']),
  entry('folder', ['path.folder(): text'], 'The path of its folder.', ['file.path.folder()', '/out']),
  entry('glob', ['text.glob(pattern): bool'], 'Whether the whole text matches a glob.', [
    'file.name.glob("ORD_*.{csv,xml}")',
    true,
  ]),
  entry(
    'formatDate',
    ['time.formatDate(format): text', 'text.formatDate(format): text'],
    'A date or time in UTC as `yyyy MM dd HH mm ss SSS`; letters stand in single quotes.',
    ['run.date.formatDate("dd.MM.yyyy")', '02.11.2026'],
  ),
  entry('addDays', ['time.addDays(n): time', 'text.addDays(n): text'], 'So many days later; a date stays a date.', [
    'run.date.addDays(-2)',
    '2026-10-31',
  ]),
  ...getter('getFullYear', 'The year', 2026),
  ...getter('getMonth', 'The month, from 0', 10),
  ...getter('getDate', 'The day of the month, from 1', 2),
  ...getter('getDayOfMonth', 'The day of the month, from 0', 1),
  ...getter('getDayOfWeek', 'The day of the week, 0 is Sunday', 1),
  ...getter('getHours', 'The hour', 6),
  ...getter('getMinutes', 'The minute', 30),
  ...getter('getSeconds', 'The second', 15),
  ...getter('getMilliseconds', 'The millisecond', 250),
];

function entry(
  name: string,
  signatures: readonly string[],
  summary: string,
  [example, gives]: readonly [cel: string, value: Json],
): FunctionEntry {
  return { name, signatures, summary, example, gives };
}

function getter(name: string, what: string, gives: number): FunctionEntry[] {
  return [
    entry(name, [`time.${name}(): integer`], `${what} of a time, in UTC.`, [
      `timestamp(run.startedAt).${name}()`,
      gives,
    ]),
  ];
}

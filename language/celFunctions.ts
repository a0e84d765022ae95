import type { Environment } from '@marcbachmann/cel-js';
import { Duration } from '@marcbachmann/cel-js/evaluator';
import { compileGlob } from './glob.ts';

/**
 * The functions that expressions may call besides operators. Everything else of the CEL library is refused: `matches`
 * (a regular expression can take seconds), time-zone getters (not the same on every machine), bytes and types.
 */
export const allowedFunctions: readonly string[] = [
  ...['size', 'string', 'int', 'double', 'bool', 'has', 'timestamp', 'duration'],
  ...['all', 'exists', 'exists_one', 'map', 'filter', 'sum', 'join', 'first'],
  ...[
    'startsWith',
    'endsWith',
    'contains',
    'indexOf',
    'lastIndexOf',
    'substring',
    'split',
    'trim',
    'lower',
    'upper',
    'replace',
  ],
  ...['stem', 'ext', 'basename', 'folder', 'glob', 'formatDate', 'addDays'],
  ...[
    'getFullYear',
    'getMonth',
    'getDate',
    'getDayOfMonth',
    'getDayOfWeek',
    'getHours',
    'getMinutes',
    'getSeconds',
    'getMilliseconds',
  ],
];

/** What to say instead of "no such function". */
export const refusedFunctions: Readonly<Record<string, string>> = {
  matches: 'a regular expression can take seconds; use glob(text, "*.csv"), startsWith, endsWith or contains',
  lowerAscii: 'use lower()',
  upperAscii: 'use upper()',
  now: 'it would differ when the run is replayed; use run.startedAt or run.date',
  getDayOfYear: 'it depends on the time zone of the machine; use formatDate',
};

/** Functions of the library that are replaced by stricter ones of ours; the parser renames the calls. */
export const replacedFunctions: ReadonlyMap<string, string> = new Map([
  ['timestamp', 'waybillTimestamp'],
  ['duration', 'waybillDuration'],
  ['join', 'waybillJoin'],
]);

/** Adds our functions and the mixed arithmetic of int and double. All pure and deterministic, none of them asynchronous. */
export function registerFunctions(environment: Environment): Environment {
  const synchronous = { async: false };
  const both = (
    name: string,
    receiver: string,
    rest: string,
    returns: string,
    handler: (...args: never[]) => unknown,
  ) => {
    const untyped = handler as (...args: unknown[]) => unknown;
    environment.registerFunction(`${receiver}.${name}(${rest}): ${returns}`, untyped, synchronous);
    environment.registerFunction(
      `${name}(${[receiver, rest].filter(Boolean).join(', ')}): ${returns}`,
      untyped,
      synchronous,
    );
  };
  both('lower', 'string', '', 'string', (text: string) => text.toLowerCase());
  both('upper', 'string', '', 'string', (text: string) => text.toUpperCase());
  both('replace', 'string', 'string, string', 'string', replace);
  both('stem', 'string', '', 'string', (path: string) =>
    baseName(path).slice(0, baseName(path).length - extension(path).length),
  );
  both('ext', 'string', '', 'string', extension);
  both('basename', 'string', '', 'string', baseName);
  both('folder', 'string', '', 'string', folder);
  both('glob', 'string', 'string', 'bool', glob);
  both('formatDate', 'string', 'string', 'string', (date: string, format: string) =>
    formatDate(readInstant(date), format),
  );
  both('formatDate', 'google.protobuf.Timestamp', 'string', 'string', (date: Date, format: string) =>
    formatDate(date, format),
  );
  both('addDays', 'string', 'int', 'string', addDaysToText);
  both('addDays', 'google.protobuf.Timestamp', 'int', 'google.protobuf.Timestamp', addDays);
  both('sum', 'list<dyn>', '', 'dyn', sum);
  both('first', 'list<A>', 'int', 'list<A>', firstOfList);
  both('first', 'map', 'int', 'list<dyn>', firstOfSet);
  environment.registerFunction(
    'split(string, string): list<string>',
    (text: string, by: string) => text.split(by),
    synchronous,
  );
  both('waybillJoin', 'list<string>', 'string', 'string', join);
  environment.registerFunction('trim(string): string', (text: string) => text.trim(), synchronous);
  environment.registerFunction('waybillTimestamp(string): google.protobuf.Timestamp', readInstant, synchronous);
  environment.registerFunction(
    'waybillTimestamp(int): google.protobuf.Timestamp',
    (seconds: bigint) => checkedDate(Number(seconds) * 1000),
    synchronous,
  );
  environment.registerFunction('waybillDuration(string): google.protobuf.Duration', readDuration, synchronous);
  environment.registerFunction(`${literalFunction}(dyn): string`, literal, synchronous);
  registerMixedArithmetic(environment);
  return environment;
}

/**
 * A value as CEL text. The checker puts it into filters (`where`) that name more than the file: those names are filled in
 * by the workflow, and what is left is evaluated row by row elsewhere. Files cannot call it.
 */
export const literalFunction = 'waybillLiteral';

function literal(value: unknown): string {
  if (typeof value === 'number')
    return Number.isInteger(value) && Math.abs(value) < 1e21 ? `(${value}.0)` : `(${value})`;
  if (typeof value === 'bigint') return `(${value})`;
  if (Array.isArray(value)) return `[${value.map(literal).join(', ')}]`;
  if (value instanceof Map)
    return `{${[...value].map(([key, item]) => `${literal(key)}: ${literal(item)}`).join(', ')}}`;
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return JSON.stringify(value);
  throw new Error('a filter can take texts, numbers, true or false, lists and mappings');
}

function registerMixedArithmetic(environment: Environment): void {
  const operators: Record<string, (left: number, right: number) => number> = {
    '+': (left, right) => left + right,
    '-': (left, right) => left - right,
    '*': (left, right) => left * right,
    '/': (left, right) => left / right,
  };
  for (const [sign, apply] of Object.entries(operators)) {
    const handler = (left: bigint | number, right: bigint | number) => apply(Number(left), Number(right));
    environment.registerOperator(`int ${sign} double: double`, handler);
    environment.registerOperator(`double ${sign} int: double`, handler);
  }
  environment.registerOperator('int == double: bool', (left: bigint, right: number) => Number(left) === right);
}

function firstOfList(list: Iterable<unknown>, count: bigint): unknown[] {
  return [...list].slice(0, Number(count));
}

/** Of a file set and of the failed items of a loop: they hold as many rows as the pipeline asks for anywhere. */
export function firstOfSet(set: Map<unknown, unknown>, count: bigint): unknown[] {
  const rows = set.get('head');
  if (rows === undefined && set.get('count') === 0n) return [];
  if (!Array.isArray(rows)) throw new Error('first() takes a list, a file set or the failed items of a loop');
  return rows.slice(0, Number(count));
}

function replace(text: string, from: string, to: string): string {
  if (from === '') throw new Error('replace() needs a text to look for');
  const pieces = text.split(from);
  if (text.length + (pieces.length - 1) * to.length > maxTextCharacters)
    throw new Error(`a text has more than ${maxTextCharacters} characters`);
  return pieces.join(to);
}

function join(texts: Iterable<unknown>, by: string): string {
  let joined = '';
  let first = true;
  for (const text of texts) {
    if (typeof text !== 'string') throw new Error('join() takes a list of texts');
    joined += first ? text : by + text;
    first = false;
    if (joined.length > maxTextCharacters) throw new Error(`a text has more than ${maxTextCharacters} characters`);
  }
  return joined;
}

function glob(text: string, pattern: string): boolean {
  if (text.length > 1024 || pattern.length > 256)
    throw new Error('glob() takes a text of 1024 and a pattern of 256 characters at most');
  return compileGlob(pattern).matches(text);
}

/** The longest text that an expression may make, in UTF-16 units. */
export const maxTextCharacters = 65_536;

function baseName(path: string): string {
  const trimmed = path.endsWith('/') ? path.slice(0, -1) : path;
  return trimmed.slice(trimmed.lastIndexOf('/') + 1);
}

/** `/out` of `/out/a.csv`; `/` at the root, nothing without a slash. */
function folder(path: string): string {
  const trimmed = path.endsWith('/') ? path.slice(0, -1) : path;
  const slash = trimmed.lastIndexOf('/');
  return slash > 0 ? trimmed.slice(0, slash) : path.slice(0, slash + 1);
}

/** `.csv` of `a.b.csv`; nothing for `README` and `.profile`. */
function extension(path: string): string {
  const name = baseName(path);
  const dot = name.lastIndexOf('.');
  return dot <= 0 ? '' : name.slice(dot);
}

const datePattern = /^(\d{4})-(\d{2})-(\d{2})$/;
const instantPattern = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$/;

/** An instant of a date (`2026-11-02`, midnight UTC) or a time that names its zone. A time without zone would mean another one on each machine. */
function readInstant(text: string): Date {
  if (datePattern.test(text)) return checkedDate(Date.parse(`${text}T00:00:00Z`), text);
  if (instantPattern.test(text)) return checkedDate(Date.parse(text), text);
  throw new Error(
    `${JSON.stringify(text.slice(0, 60))} is not a date (2026-11-02) or a time with its zone (2026-11-02T06:00:00Z)`,
  );
}

function checkedDate(milliseconds: number, text = String(milliseconds)): Date {
  const date = new Date(milliseconds);
  const year = date.getUTCFullYear();
  if (Number.isNaN(milliseconds) || year < 1 || year > 9999)
    throw new Error(`${JSON.stringify(text.slice(0, 60))} is not a date between the years 1 and 9999`);
  const day = datePattern.exec(text.slice(0, 10))?.[3];
  if (day !== undefined && text.endsWith('Z') && date.getUTCDate() !== Number(day))
    throw new Error(`${JSON.stringify(text.slice(0, 60))} is not a day of the calendar`);
  return date;
}

function addDays(date: Date, days: bigint): Date {
  return checkedDate(date.getTime() + Number(days) * 86_400_000);
}

/** A date stays a date, a time stays a time. */
function addDaysToText(text: string, days: bigint): string {
  const moved = addDays(readInstant(text), days).toISOString();
  return datePattern.test(text) ? moved.slice(0, 10) : moved;
}

/** UTC. `yyyy MM dd HH mm ss SSS` (`YYYY` and `DD` too); other characters stay, letters in 'single quotes' too. */
function formatDate(date: Date, format: string): string {
  if (format.length > 200) throw new Error('the format has more than 200 characters');
  const iso = date.toISOString();
  const year = iso.slice(0, 4);
  const values: Record<string, string> = {
    yyyy: year,
    YYYY: year,
    yy: year.slice(2),
    YY: year.slice(2),
    MM: iso.slice(5, 7),
    dd: iso.slice(8, 10),
    DD: iso.slice(8, 10),
    HH: iso.slice(11, 13),
    mm: iso.slice(14, 16),
    ss: iso.slice(17, 19),
    SSS: iso.slice(20, 23),
  };
  return format.replace(
    /'([^']*)'|yyyy|YYYY|yy|YY|MM|dd|DD|HH|mm|ss|SSS|[A-Za-z]+/g,
    (token, quoted: string | undefined) => {
      if (quoted !== undefined) return quoted;
      if (Object.hasOwn(values, token)) return values[token]!;
      if (token === 'T' || token === 'Z') return token;
      throw new Error(
        `the date format does not know ${JSON.stringify(token)}; it knows yyyy MM dd HH mm ss SSS, and letters in 'quotes'`,
      );
    },
  );
}

function sum(list: Iterable<unknown>): bigint | number {
  let integers = 0n;
  let doubles: number | undefined;
  for (const item of list) {
    if (typeof item === 'bigint') integers += item;
    else if (typeof item === 'number') doubles = (doubles ?? 0) + item;
    else throw new Error('sum() takes a list of numbers');
  }
  return doubles === undefined ? integers : doubles + Number(integers);
}

function readDuration(text: string): Duration {
  const match = /^(-?)((?:\d{1,15}(?:\.\d{1,9})?(?:ms|us|ns|s|m|h|d)){1,8})$/.exec(text.slice(0, 100));
  if (!match) throw new Error(`${JSON.stringify(text.slice(0, 60))} is not a duration, such as 90s, 1h30m or 7d`);
  let nanoseconds = 0n;
  for (const [, whole, fraction = '', unit] of match[2]!.matchAll(/(\d+)(?:\.(\d+))?(ms|us|ns|s|m|h|d)/g)) {
    const unitNanoseconds = nanosecondsOf[unit as keyof typeof nanosecondsOf];
    nanoseconds +=
      BigInt(whole!) * unitNanoseconds + (BigInt(fraction.padEnd(9, '0')) * unitNanoseconds) / 1_000_000_000n;
  }
  if (match[1] === '-') nanoseconds = -nanoseconds;
  return new Duration(nanoseconds / 1_000_000_000n, Number(nanoseconds % 1_000_000_000n));
}

const nanosecondsOf = {
  d: 86_400_000_000_000n,
  h: 3_600_000_000_000n,
  m: 60_000_000_000n,
  s: 1_000_000_000n,
  ms: 1_000_000n,
  us: 1_000n,
  ns: 1n,
} as const;

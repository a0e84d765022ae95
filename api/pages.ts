import { WaybillError } from '../schema/errors.ts';
import { limits } from './limits.ts';

/** One page of a connection; a cursor names the row it stands at, so pages stay right while rows are added. */
export interface Page<Row> {
  rows: Row[];
  hasNextPage: boolean;
  hasPreviousPage: boolean;
  cursorOf(row: Row): string;
  /** Where the next page begins when that is not the last row: a search that stopped before it found a page full. */
  endCursor?: string;
}

export interface PageArguments {
  first?: number | null | undefined;
  after?: string | null | undefined;
}

/** Order of the rows that come and go: by time of creation, then by id. */
export interface TimeKey {
  createdAt: Date;
  id: string;
}

/** What Prisma takes for one page. `after` is a condition; put it beside the others under AND. */
export interface TimeQuery {
  /** The row before the page, or null at the beginning. */
  key: TimeKey | null;
  after: { OR?: [{ createdAt: object }, { createdAt: Date; id: object }] };
  orderBy: [{ createdAt: 'asc' | 'desc' }, { id: 'asc' | 'desc' }];
  take: number;
}

/** A page by (createdAt, id), newest first unless `direction` is asc. Throws invalid for `first` or `after` out of form. */
export async function pageByTime<Row extends TimeKey>(
  page: PageArguments,
  find: (query: TimeQuery) => Promise<Row[]>,
  direction: 'asc' | 'desc' = 'desc',
): Promise<Page<Row>> {
  const first = pageSize(page.first);
  const key = page.after == null ? null : readTimeCursor(page.after);
  const rows = await find({ key, after: afterTime(key, direction), orderBy: timeOrder(direction), take: first + 1 });
  return cut(rows, first, key !== null, timeCursor);
}

export function timeOrder(direction: 'asc' | 'desc'): TimeQuery['orderBy'] {
  return [{ createdAt: direction }, { id: direction }];
}

export function afterTime(key: TimeKey | null, direction: 'asc' | 'desc'): TimeQuery['after'] {
  if (key === null) return {};
  const beyond = direction === 'desc' ? 'lt' : 'gt';
  return { OR: [{ createdAt: { [beyond]: key.createdAt } }, { createdAt: key.createdAt, id: { [beyond]: key.id } }] };
}

/** A page by name, for what has one. Throws as pageByTime does. */
export async function pageByName<Row extends { name: string }>(
  page: PageArguments,
  find: (query: { after: { name?: { gt: string } }; orderBy: { name: 'asc' }; take: number }) => Promise<Row[]>,
): Promise<Page<Row>> {
  const first = pageSize(page.first);
  const name = page.after == null ? null : readNameCursor(page.after);
  const rows = await find({
    after: name === null ? {} : { name: { gt: name } },
    orderBy: { name: 'asc' },
    take: first + 1,
  });
  return cut(rows, first, name !== null, (row) => encode([row.name]));
}

/** How many rows a page holds. Throws invalid outside of 1..100. */
export function pageSize(first: number | null | undefined): number {
  const size = first ?? limits.pageDefault;
  if (size < 1 || size > limits.pageMost)
    throw new WaybillError('invalid', `first must be 1 to ${limits.pageMost}, not ${size}`, { field: 'first' });
  return size;
}

export function timeCursor(row: TimeKey): string {
  return encode([row.createdAt.toISOString(), row.id]);
}

/** Throws invalid for what `timeCursor` did not make. */
export function readTimeCursor(cursor: string): TimeKey {
  const [time, id] = decode(cursor, 2);
  const createdAt = new Date(time!);
  if (Number.isNaN(createdAt.getTime()) || !/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(id!)) throw badCursor();
  return { createdAt, id: id! };
}

function readNameCursor(cursor: string): string {
  return decode(cursor, 1)[0]!;
}

/** One row more than asked for was read: it says whether there is a next page. */
function cut<Row>(rows: Row[], first: number, hasPreviousPage: boolean, cursorOf: (row: Row) => string): Page<Row> {
  return { rows: rows.slice(0, first), hasNextPage: rows.length > first, hasPreviousPage, cursorOf };
}

function encode(key: string[]): string {
  return Buffer.from(JSON.stringify(key)).toString('base64url');
}

function decode(cursor: string, parts: number): string[] {
  if (cursor.length > limits.cursorLength) throw badCursor();
  let key: unknown;
  try {
    key = JSON.parse(Buffer.from(cursor, 'base64url').toString());
  } catch {
    throw badCursor();
  }
  const ofForm = Array.isArray(key) && key.length === parts && key.every(isPlainText);
  if (!ofForm) throw badCursor();
  return key as string[];
}

function isPlainText(part: unknown): boolean {
  // PostgreSQL refuses NUL in text.
  return typeof part === 'string' && !part.includes('\u0000') && part.isWellFormed();
}

function badCursor(): WaybillError {
  return new WaybillError('invalid', 'after is not a cursor that this connection gave', { field: 'after' });
}

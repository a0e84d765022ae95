import { globBase, globMatcher, normaliseGlob } from '../../language/location.ts';
import type { Delivery, Prisma } from '../../prisma/generated/client.ts';
import { WaybillError } from '../../schema/errors.ts';
import { rowId } from '../../schema/names.ts';
import type { DeliveryState } from '../../schema/plan.ts';
import { limits } from '../limits.ts';
import {
  afterTime,
  type Page,
  type PageArguments,
  pageByTime,
  pageSize,
  readTimeCursor,
  timeCursor,
  timeOrder,
} from '../pages.ts';
import type { Read } from '../reading.ts';

export interface DeliveryFilter {
  run?: string | null | undefined;
  transfer?: string | null | undefined;
  state?: DeliveryState | null | undefined;
  glob?: string | null | undefined;
  endpoint?: string | null | undefined;
  since?: Date | null | undefined;
  sha256?: string | null | undefined;
}

/**
 * Deliveries, newest first. A glob is matched over a bounded number of rows for each page: such a page may hold fewer
 * than asked for and still have a next one. Throws invalid for a filter out of form.
 */
export async function findDeliveries(read: Read, filter: DeliveryFilter, page: PageArguments): Promise<Page<Delivery>> {
  const glob = filter.glob == null ? null : readGlob(filter.glob);
  return read(({ db }, tenantId) => {
    const conditions = [{ tenantId }, ...conditionsOf(filter), ...(glob === null ? [] : [belowBase(glob)])];
    const rows = (after: Prisma.DeliveryWhereInput, take: number) =>
      db.delivery.findMany({ where: { AND: [...conditions, after] }, orderBy: timeOrder('desc'), take });
    return glob === null
      ? pageByTime(page, ({ after, take }) => rows(after, take))
      : pageByGlob(page, globMatcher([glob]), rows);
  });
}

async function pageByGlob(
  page: PageArguments,
  matches: (path: string) => boolean,
  rows: (after: Prisma.DeliveryWhereInput, take: number) => Promise<Delivery[]>,
): Promise<Page<Delivery>> {
  const first = pageSize(page.first);
  const found: Delivery[] = [];
  let last = page.after == null ? null : readTimeCursor(page.after);
  let seen = 0;
  let more = true;
  while (more && seen < limits.globRows) {
    const batch = await rows(afterTime(last, 'desc'), limits.globBatch);
    for (const row of batch) {
      const isMatch = matches(row.sourcePath) || matches(row.targetPath);
      if (isMatch && found.length === first) return pageOf(found, page, true);
      if (isMatch) found.push(row);
      last = row;
    }
    seen += batch.length;
    more = batch.length === limits.globBatch;
  }
  // The search stopped here, perhaps after the last match: the next page goes on from the last row looked at.
  return more ? { ...pageOf(found, page, true), endCursor: timeCursor(last!) } : pageOf(found, page, false);
}

function pageOf(rows: Delivery[], page: PageArguments, hasNextPage: boolean): Page<Delivery> {
  return { rows, hasNextPage, hasPreviousPage: page.after != null, cursorOf: timeCursor };
}

function conditionsOf(filter: DeliveryFilter): Prisma.DeliveryWhereInput[] {
  const conditions: Prisma.DeliveryWhereInput[] = [];
  if (filter.run != null) conditions.push({ runId: idOf('run', filter.run) });
  if (filter.transfer != null) conditions.push({ transferId: idOf('transfer', filter.transfer) });
  if (filter.state != null) conditions.push({ state: filter.state });
  if (filter.endpoint != null)
    conditions.push({ OR: [{ sourceEndpoint: filter.endpoint }, { targetEndpoint: filter.endpoint }] });
  if (filter.since != null) conditions.push({ createdAt: { gte: filter.since } });
  if (filter.sha256 != null) conditions.push({ sha256: digestOf(filter.sha256) });
  return conditions;
}

function idOf(kind: 'run' | 'transfer', id: string): string {
  const uuid = rowId(kind, id);
  if (uuid === undefined)
    throw new WaybillError('invalid', `${JSON.stringify(id)} is not the id of a ${kind}`, { field: kind });
  return uuid;
}

function digestOf(text: string): Uint8Array<ArrayBuffer> {
  if (!/^[0-9a-fA-F]{64}$/.test(text))
    throw new WaybillError('invalid', 'sha256 must have 64 hexadecimal digits', { field: 'sha256' });
  return Uint8Array.from(Buffer.from(text, 'hex'));
}

/** `*.csv` is meant anywhere; what has a slash begins at an endpoint's root. */
function readGlob(glob: string): string {
  return normaliseGlob(glob.includes('/') ? glob : `/**/${glob}`);
}

function belowBase(glob: string): Prisma.DeliveryWhereInput {
  // A backslash would escape within LIKE: the prefix ends before it, and the matcher does the rest.
  const base = globBase(glob).split('\\')[0]!;
  return { OR: [{ sourcePath: { startsWith: base } }, { targetPath: { startsWith: base } }] };
}

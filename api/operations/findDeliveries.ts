import type { Delivery, Prisma } from '../../prisma/generated/client.ts';
import { WaybillError } from '../../schema/errors.ts';
import { rowId } from '../../schema/names.ts';
import type { DeliveryState } from '../../schema/plan.ts';
import { type Page, type PageArguments, pageByTime } from '../pages.ts';
import type { Read } from '../reading.ts';
import { type SearchTerms, searchDeliveries } from './deliverySearch.ts';

export interface DeliveryFilter {
  run?: string | null | undefined;
  transfer?: string | null | undefined;
  state?: DeliveryState | null | undefined;
  glob?: string | null | undefined;
  endpoint?: string | null | undefined;
  since?: Date | null | undefined;
  sha256?: string | null | undefined;
}

/** Deliveries, newest first; those of a glob as `searchDeliveries` says. Throws invalid for a filter out of form. */
export async function findDeliveries(read: Read, filter: DeliveryFilter, page: PageArguments): Promise<Page<Delivery>> {
  const terms = termsOf(filter);
  const { glob } = filter;
  if (glob != null) return read((transaction, tenantId) => searchDeliveries(transaction, tenantId, glob, terms, page));
  return read(({ db }, tenantId) =>
    pageByTime(page, ({ after, orderBy, take }) =>
      db.delivery.findMany({ where: { AND: [{ tenantId }, ...conditionsOf(terms), after] }, orderBy, take }),
    ),
  );
}

function termsOf(filter: DeliveryFilter): SearchTerms {
  return {
    run: filter.run == null ? null : idOf('run', filter.run),
    transfer: filter.transfer == null ? null : idOf('transfer', filter.transfer),
    state: filter.state ?? null,
    endpoint: filter.endpoint ?? null,
    since: filter.since ?? null,
    sha256: filter.sha256 == null ? null : digestOf(filter.sha256),
  };
}

function conditionsOf(terms: SearchTerms): Prisma.DeliveryWhereInput[] {
  const { run, transfer, state, endpoint, since, sha256 } = terms;
  const conditions: Prisma.DeliveryWhereInput[] = [];
  if (run !== null) conditions.push({ runId: run });
  if (transfer !== null) conditions.push({ transferId: transfer });
  if (state !== null) conditions.push({ state });
  if (endpoint !== null) conditions.push({ OR: [{ sourceEndpoint: endpoint }, { targetEndpoint: endpoint }] });
  if (since !== null) conditions.push({ createdAt: { gte: since } });
  if (sha256 !== null) conditions.push({ sha256 });
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

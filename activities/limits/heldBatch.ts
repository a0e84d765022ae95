import type { Store } from '../../prisma/contract.ts';
import { holdDeliveries, releaseDeliveries } from '../../prisma/holds.ts';
import type { DeliveryRow } from '../../prisma/ledger.ts';
import { holdOf } from './hold.ts';

interface Batch {
  tenantId: string;
  transferId: string;
  batch: number;
}

/** Does the work of a batch; while an endpoint holds it, its files say so in the ledger. Throws on what the work throws. */
export async function noteWhenHeld<Answer>(store: Store, batch: Batch, work: () => Promise<Answer>): Promise<Answer> {
  try {
    return await work();
  } catch (error) {
    await noteHeld(store, batch, error);
    throw error;
  }
}

/** When the error is a hold, what of the batch has to do with that endpoint says so. */
export async function noteHeld(store: Store, batch: Batch, error: unknown): Promise<void> {
  const hold = holdOf(error);
  if (hold === null) return;
  const { endpoint } = hold;
  const reason = `${endpoint}, ${hold.reason}`;
  await store.sql(batch.tenantId, (sql) => holdDeliveries(sql, batch.tenantId, { ...batch, endpoint, reason }));
}

/** The rows, those planned again that were held. */
export async function planHeldAgain(store: Store, batch: Batch, rows: readonly DeliveryRow[]): Promise<DeliveryRow[]> {
  if (rows.some(({ state }) => state === 'held'))
    await store.sql(batch.tenantId, (sql) => releaseDeliveries(sql, batch.tenantId, batch));
  return rows.map((row) => (row.state === 'held' ? { ...row, state: 'planned', errorKind: null } : row));
}

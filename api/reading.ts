import type { Store, TenantTransaction } from '../prisma/contract.ts';
import { limits } from './limits.ts';

/** A read of the caller's tenant. */
export type Read = <Result>(
  work: (transaction: TenantTransaction, tenantId: string) => Promise<Result>,
) => Promise<Result>;

/**
 * Reads of one request, a few at a time: a query over a hundred nested connections waits in here, and not in the pool
 * that everyone shares.
 */
export function createRead(store: Store, tenantId: string): Read {
  let free: number = limits.readsTogether;
  const waiting: Array<() => void> = [];

  return async (work) => {
    if (free > 0) free--;
    else await new Promise<void>((resume) => waiting.push(resume));
    try {
      return await store.withTenant(tenantId, (transaction) => work(transaction, tenantId));
    } finally {
      const next = waiting.shift();
      if (next) next();
      else free++;
    }
  };
}

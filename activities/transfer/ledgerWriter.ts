import { type NewEvent, recordEvents } from '../../audit/record.ts';
import type { Store } from '../../prisma/contract.ts';
import {
  type ClaimOutcome,
  changeDeliveries,
  claimDeliveries,
  type DeliveryChange,
  lockClaims,
  saveProgress,
} from '../../prisma/ledger.ts';
import { WaybillError } from '../../schema/errors.ts';
import { limits } from './context.ts';
import { createGroupCommit } from './groupCommit.ts';

export interface ClaimedDelivery {
  id: string;
  /** hexadecimal */
  deliveryKey: string;
}

/** A change of a delivery, its claim and its events, written together or not at all. */
export interface LedgerWrite {
  delivery: ClaimedDelivery;
  change: Omit<DeliveryChange, 'id'>;
  /**
   * What becomes of the claim; anything but `none` is written only while this attempt holds it. `deliver` makes it the
   * memory that this file version was delivered.
   */
  claim: 'extend' | 'deliver' | 'release' | 'none';
  events?: readonly NewEvent[];
}

export interface Checkpoint extends ClaimedDelivery {
  bytesDone: number;
}

/** The ledger, as one attempt of one batch writes it. What many files want at the same time goes in one transaction. */
export interface LedgerWriter {
  claim(delivery: ClaimedDelivery): Promise<ClaimOutcome>;
  /** Throws conflict (with `leaseLost`) when the claim is no longer this attempt's: it must stop at once. */
  write(write: LedgerWrite): Promise<void>;
  /** Saves progress and renews the leases; gives the ids of deliveries whose claim is lost. */
  checkpoint(copies: readonly Checkpoint[]): Promise<string[]>;
}

export function createLedgerWriter(store: Store, tenantId: string, owner: string, leaseMs: number): LedgerWriter {
  // Claims have a transaction of their own: it locks keys that others hold, and must not hold ours meanwhile.
  const claim = createGroupCommit(
    (deliveries: readonly ClaimedDelivery[]) =>
      store.sql(tenantId, (sql) => claimDeliveries(sql, tenantId, owner, leaseMs, deliveries)),
    limits.commitRows,
  );
  const commit = createGroupCommit(
    (items: readonly Item[]) => commitItems(store, tenantId, owner, leaseMs, items),
    limits.commitRows,
  );
  return {
    claim,
    async write(write) {
      const lost = await commit({ write });
      if (lost.length > 0) throw leaseLost();
    },
    checkpoint: (copies) => commit({ copies }),
  };
}

type Item = { write: LedgerWrite; copies?: never } | { copies: readonly Checkpoint[]; write?: never };

/** Gives, for each item, the ids of the deliveries that are no longer ours. */
async function commitItems(
  store: Store,
  tenantId: string,
  owner: string,
  leaseMs: number,
  items: readonly Item[],
): Promise<readonly string[][]> {
  const writes = items.flatMap(({ write }) => (write === undefined ? [] : [write]));
  const copies = items.flatMap((item) => item.copies ?? []);
  const claimed = writes.filter((write) => write.claim !== 'none');
  const toLock = new Map([...claimed.map(({ delivery }) => delivery), ...copies].map((row) => [row.deliveryKey, row]));

  return store.sql(tenantId, async (sql) => {
    const held = await lockClaims(sql, tenantId, owner, [...toLock.values()]);
    const isOurs = (delivery: ClaimedDelivery) => held.has(delivery.deliveryKey);
    const valid = writes.filter((write) => write.claim === 'none' || isOurs(write.delivery));
    const renewed = copies.filter(isOurs);
    const keysThat = (claim: LedgerWrite['claim']) =>
      valid.filter((write) => write.claim === claim).map(({ delivery }) => delivery.deliveryKey);
    const deliver = keysThat('deliver');
    const release = keysThat('release');
    const ended = new Set([...deliver, ...release]);
    const extend = new Set([...keysThat('extend'), ...renewed.map((row) => row.deliveryKey)]);
    await saveProgress(sql, tenantId, renewed);
    await changeDeliveries(
      sql,
      tenantId,
      leaseMs,
      { extend: [...extend].filter((key) => !ended.has(key)), deliver, release },
      valid.map(({ delivery, change }) => ({ id: delivery.id, ...change })),
    );
    const events = valid.flatMap((write) => write.events ?? []);
    if (events.length > 0) await recordEvents(sql, tenantId, events);
    return items.map(({ write, copies: batch }) => {
      const rows = write === undefined ? (batch ?? []) : write.claim === 'none' ? [] : [write.delivery];
      return rows.filter((row) => !isOurs(row)).map((row) => row.id);
    });
  });
}

export function leaseLost(): WaybillError {
  return new WaybillError('conflict', 'another attempt of this delivery has taken over; this one stops', {
    operation: 'writing the ledger',
    leaseLost: true,
  });
}

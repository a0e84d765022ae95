/**
 * Whole transfers in one process, from plan to end, that each stand still after so many of their transactions; when all of
 * them do, or have ended, the process says which have (`{"ended":[...]}`) and kills itself: `node test/transfer/ledgerProcess.ts JSON`.
 */
import { writeSync } from 'node:fs';
import type { PlanInput } from '../../activities/transfer/planTransfer.ts';
import type { Store } from '../../prisma/contract.ts';
import { openStore } from '../../prisma/store.ts';
import { copyWhole } from './copyWhole.ts';
import { openEngine } from './world.ts';

export interface LedgerOptions {
  applicationUrl: string;
  leaseMs: number;
  transfers: Array<{ plan: PlanInput; standAfter: number }>;
}

const { applicationUrl, leaseMs, transfers }: LedgerOptions = JSON.parse(process.argv[2]!);
const store = openStore({ applicationUrl, log: { warn: () => undefined } });
const ended: number[] = [];
/** Else what stands still would be collected. */
const standing: unknown[] = [];

await Promise.all(
  transfers.map(({ plan, standAfter }, index) => {
    const stands = Promise.withResolvers<void>();
    const engine = openEngine(standingStill(store, standAfter, stands.resolve), undefined, { leaseMs });
    const whole = copyWhole(engine, plan, 1).then(() => void ended.push(index));
    return Promise.race([stands.promise, whole]);
  }),
);
writeSync(process.stdout.fd, JSON.stringify({ ended }));
process.kill(process.pid, 'SIGKILL');

/** The store, of which no transaction begins after so many, and the last of them gives no answer. */
function standingStill(whole: Store, after: number, stand: () => void): Store {
  let count = 0;
  const forEver = () => new Promise<never>((goOn) => void standing.push(goOn));
  return {
    ...whole,
    sql: async (tenantId, work) => {
      const mine = ++count;
      if (mine > after) return forEver();
      const result = await whole.sql(tenantId, work);
      if (mine < after) return result;
      stand();
      return forEver();
    },
  };
}

import { recordEvents } from '../../audit/record.ts';
import type { Store } from '../../prisma/contract.ts';
import { clearBreaker, lockBreaker, releaseTrial, takeTrial, writeBreaker } from '../../prisma/endpointBreakers.ts';
import type { WaybillError } from '../../schema/errors.ts';

/** Failures in a row after which work for an endpoint is held. */
const failuresToOpen = 5;
/** How long it is held at first; twice as long after each time that it fails again. */
const firstOpenMs = 15_000;
const longestOpenMs = 600_000;
/** How long the one use that tries whether the endpoint is back may take until another one tries. */
const trialMs = 30_000;
const messageLength = 500;

/** Counts the failures in a row of one endpoint, for all workers. */
export interface Breaker {
  /** Asks to be the one use that tries whether the endpoint is back. */
  takeTrial(): Promise<boolean>;
  /** That use came to nothing: another one may try. */
  releaseTrial(): Promise<void>;
  /** Counts a failure. */
  failed(error: WaybillError): Promise<void>;
  /** The endpoint works: its failures are forgotten. */
  worked(): Promise<void>;
}

/** `credential`: the revision of the endpoint and its secrets; failures of another one do not count. */
export function breakerOf(
  store: Store,
  {
    tenantId,
    endpointId,
    name,
    credential,
  }: { tenantId: string; endpointId: string; name: string; credential: string },
): Breaker {
  const actor = { principalId: null };
  return {
    takeTrial: () => store.sql(tenantId, (sql) => takeTrial(sql, tenantId, endpointId, trialMs)),
    releaseTrial: () => store.sql(tenantId, (sql) => releaseTrial(sql, tenantId, endpointId)),
    async failed({ kind, message }) {
      await store.sql(tenantId, async (sql) => {
        const row = await lockBreaker(sql, tenantId, endpointId, credential);
        if (row === undefined) return;
        const before = row.credential === credential ? row : { failures: 0, openings: 0, openUntil: null };
        // What was under way when it opened fails a little later, and is no news.
        if (before.openUntil !== null && before.openUntil > row.now) return;
        const failures = before.failures + 1;
        const opens = failures >= failuresToOpen;
        const openings = before.openings + (opens ? 1 : 0);
        const openMs = Math.min(longestOpenMs, firstOpenMs * 2 ** Math.min(openings - 1, 20));
        const openUntil = opens ? new Date(row.now.getTime() + openMs) : null;
        const errorMessage = message.slice(0, messageLength).toWellFormed();
        const state = { credential, failures, openings, openUntil, errorKind: kind, errorMessage };
        await writeBreaker(sql, tenantId, endpointId, state);
        if (openings !== 1 || !opens) return;
        const data = { endpoint: name, failures, until: openUntil!.toISOString(), kind, message: errorMessage };
        await recordEvents(sql, tenantId, [{ type: 'endpoint.breaker-opened', outcome: 'failure', actor, data }]);
      });
    },
    async worked() {
      await store.sql(tenantId, async (sql) => {
        if (!(await clearBreaker(sql, tenantId, endpointId))) return;
        await recordEvents(sql, tenantId, [{ type: 'endpoint.breaker-closed', actor, data: { endpoint: name } }]);
      });
    },
  };
}

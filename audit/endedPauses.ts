import type { Sql } from '../prisma/contract.ts';
import { endPauses } from '../prisma/endpointPauses.ts';
import { recordEvents } from './record.ts';

/** Ends the pauses of a tenant whose time has come (of one endpoint, when it is named), and writes that down: nobody did it, so the event has no actor. */
export async function recordEndedPauses(sql: Sql, tenantId: string, endpoint: string | null): Promise<void> {
  const ended = await endPauses(sql, tenantId, endpoint);
  const events = ended.map(({ endpoint: name, until }) => ({
    type: 'endpoint.resumed',
    actor: { principalId: null },
    data: { endpoint: name, reason: 'the time of the pause has come', until: until.toISOString() },
  }));
  await recordEvents(sql, tenantId, events);
}

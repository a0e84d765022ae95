import type { NewEvent } from '../../audit/record.ts';
import type { LedgerRun } from '../../prisma/ledger.ts';
import type { EventType } from '../../schema/events.ts';
import type { Json } from '../../schema/plan.ts';

/** Writes the events of one run's transfers: whose they are is the same for all of them. */
export interface EventWriter {
  transfer(type: EventType, transferId: string, data: Json): NewEvent;
  /** One of its kind for each delivery, however often the step is repeated. */
  delivery(type: EventType, delivery: { id: string }, data: Json): NewEvent;
  step(type: EventType, stepKey: string, data: Json): NewEvent;
}

export function eventsOf(run: LedgerRun, runId: string, transferId: string | null): EventWriter {
  const { principalId, sessionId, applicationId } = run;
  const common = { actor: { principalId, sessionId, applicationId }, runId };
  const outcomeOf = (type: EventType) => (type.endsWith('.failed') ? ('failure' as const) : ('success' as const));
  return {
    transfer: (type, id, data) => ({
      ...common,
      type,
      outcome: outcomeOf(type),
      transferId: id,
      data,
      dedupeKey: `${type}/${id}`,
    }),
    delivery: (type, { id }, data) => ({
      ...common,
      type,
      outcome: outcomeOf(type),
      ...(transferId !== null && { transferId }),
      deliveryId: id,
      data,
      dedupeKey: `${type}/${id}`,
    }),
    step: (type, stepKey, data) => ({
      ...common,
      type,
      outcome: outcomeOf(type),
      data,
      dedupeKey: `${type}/${runId}/${stepKey}`,
    }),
  };
}

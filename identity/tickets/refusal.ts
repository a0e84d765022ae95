import { WaybillError } from '../../schema/errors.ts';

/** How far the time of a ticket or token may be from ours, before and after. */
export const ticketWindowMs = 5 * 60_000;

/** For the log of the operator and the audit event; whoever sent the ticket never reads it. */
export const ticketRefusals = ['form', 'content', 'time', 'site', 'address', 'session', 'used'] as const;
export type TicketRefusal = (typeof ticketRefusals)[number];

/** The one answer to every ticket and token that is not taken: which of its walls it met is nobody's business. */
export function ticketRefused(reason: TicketRefusal): WaybillError {
  return new WaybillError('unauthenticated', 'the ticket is not valid; ask for a new one', { reason });
}

import type { Store } from '../../prisma/contract.ts';
import type { SecretBox } from '../secrets.ts';
import { loadIntegrationKeys } from './integrationKeys.ts';
import { openTicket, readForm, type TicketKind } from './openTicket.ts';
import { ticketRefused } from './refusal.ts';
import { useOnce } from './singleUse.ts';
import { printTicketXml, readTicketXml } from './ticketXml.ts';

const maxUserNameCharacters = 255;

export interface TicketProof {
  /** As the ticket has it, without its domain; empty when it names nobody, which only a sign-in by e-mail takes. */
  userName: string;
  /** Name of the integration whose key made the ticket. */
  integration: string;
}

/**
 * What a ticket proves for the tenant, in either version; the ticket is used up when this returns. Throws unauthenticated,
 * in the same words and after the same work, whatever is wrong with it; `context.reason` is for the operator alone. Throws
 * unavailable when the database cannot be asked, integrity when a stored key cannot be opened.
 */
export async function proveTicket(
  { store, secretBox }: { store: Store; secretBox: SecretBox },
  tenantId: string,
  ticket: string,
  now: Date = new Date(),
): Promise<TicketProof> {
  const form = readForm(ticket);
  if (form === undefined) throw ticketRefused('form');
  const { opened, first } = await store.sql(tenantId, async (sql) => {
    const keys = await loadIntegrationKeys(sql, secretBox, tenantId, now);
    const opened = await openTicket(ticketKind, form, keys, now);
    return { opened, first: await useOnce(sql, tenantId, opened.refusal === undefined ? opened.use : undefined) };
  });
  if (opened.refusal !== undefined) throw ticketRefused(opened.refusal);
  if (!first) throw ticketRefused('used');
  return { userName: opened.content.userName, integration: opened.integration };
}

interface TicketUser {
  userName: string;
}

export const ticketKind: TicketKind<TicketUser> = {
  name: 'ticket',
  readLegacy: (text) => {
    const ticket = readTicketXml(text);
    return ticket && { content: { userName: ticket.userName }, at: ticket.at, site: ticket.site };
  },
  decoy: printTicketXml({ timestamp: '01/01/2000 00:00:00', site: 'decoy.example.com', userName: 'NOBODY\\nobody' }),
  readClaims: ({ sub, ...others }) => {
    if (typeof sub !== 'string' || sub.length > maxUserNameCharacters || /\p{C}/u.test(sub)) return undefined;
    if (Object.keys(others).length > 0) return undefined;
    return { userName: sub.slice(sub.lastIndexOf('\\') + 1).trim() };
  },
  // Neither domain nor letter case count, so neither makes a second ticket of one.
  identity: ({ userName }) => [userName.toLowerCase()],
};

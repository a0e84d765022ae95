import ipaddr from 'ipaddr.js';
import type { Store } from '../../prisma/contract.ts';
import type { SecretBox } from '../secrets.ts';
import { findLiveSession } from '../sessions/verifySession.ts';
import { loadIntegrationKeys } from './integrationKeys.ts';
import { openTicket, readForm, type TicketKind } from './openTicket.ts';
import { type TicketRefusal, ticketRefused } from './refusal.ts';
import { useOnce } from './singleUse.ts';
import { checkUpload, printUploadJson, readUploadJson, type UploadContent } from './uploadJson.ts';

export interface UploadProof {
  folderId: string;
  /** Whom the audit names beside the session's user. */
  email: string;
  /** The live session's row. */
  sessionId: string;
  principalId: string;
  /** Name of the integration whose key made the token. */
  integration: string;
}

/**
 * What an upload token allows, in either version: it comes from its one address, in its time, for a live session of an
 * enabled user of this tenant, and is used up when this returns. Throws as `proveTicket` does.
 */
export async function verifyUploadToken(
  { store, secretBox }: { store: Store; secretBox: SecretBox },
  tenantId: string,
  token: string,
  { address, now = new Date() }: { address: string | undefined; now?: Date },
): Promise<UploadProof> {
  const form = readForm(token);
  if (form === undefined) throw ticketRefused('form');
  const answer = await store.sql(tenantId, async (sql): Promise<UploadProof | TicketRefusal> => {
    const keys = await loadIntegrationKeys(sql, secretBox, tenantId, now);
    const opened = await openTicket(tokenKind, form, keys, now);
    // Each statement is sent whatever the one before it found.
    const session = await findLiveSession(sql, tenantId, opened.refusal === undefined ? opened.content.session : '');
    const refusal = opened.refusal ?? refusalOf(opened.content, address, session);
    const use = refusal === undefined && opened.refusal === undefined ? opened.use : undefined;
    const first = await useOnce(sql, tenantId, use);
    if (opened.refusal !== undefined || refusal !== undefined || session === undefined) return refusal ?? 'session';
    if (!first) return 'used';
    const { folderId, email } = opened.content;
    return { folderId, email, integration: opened.integration, ...session };
  });
  if (typeof answer === 'string') throw ticketRefused(answer);
  return answer;
}

interface LiveSession {
  sessionId: string;
  principalId: string;
}

function refusalOf(
  { ip }: UploadContent,
  address: string | undefined,
  session: LiveSession | undefined,
): TicketRefusal | undefined {
  if (address === undefined || !isSameAddress(ip, address)) return 'address';
  return session === undefined ? 'session' : undefined;
}

/** An IPv4 address that came over an IPv6 socket is the same one. */
function isSameAddress(one: string, other: string): boolean {
  if (!ipaddr.isValid(one) || !ipaddr.isValid(other)) return false;
  return ipaddr.process(one).toNormalizedString() === ipaddr.process(other).toNormalizedString();
}

export const tokenKind: TicketKind<UploadContent> = {
  name: 'token',
  readLegacy: (text) => {
    const upload = readUploadJson(text);
    if (upload === undefined) return undefined;
    const { at, ...content } = upload;
    return { content, at, site: undefined };
  },
  decoy: printUploadJson(
    { folderId: '1', email: 'nobody@example.com', ip: '192.0.2.1', session: 'decoy' },
    '01/01/2000 00:00:00',
  ),
  readClaims: ({ folderId, email, ip, session, ...others }) =>
    Object.keys(others).length > 0 ? undefined : checkUpload({ folderId, email, ip, session }),
  identity: ({ folderId, email, ip, session }) => [folderId, email.toLowerCase(), ip, session],
};

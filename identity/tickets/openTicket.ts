import { randomBytes } from 'node:crypto';
import type { IntegrationKey } from './integrationKeys.ts';
import { ticketKeyBytes } from './integrationKeys.ts';
import { openLegacy, readLegacyText } from './legacyCipher.ts';
import { type TicketRefusal, ticketWindowMs } from './refusal.ts';
import { audienceOf, isSealed, maxSealedLifeMs, openSealed, readKeyId, type SealedClaims } from './sealedTicket.ts';
import type { Use } from './singleUse.ts';

/** What kind of text is read: how each version of it says what it says. */
export interface TicketKind<Content> {
  name: 'ticket' | 'token';
  /** The content of the first version, the time it was made at, and the site if it names one. */
  readLegacy(text: string): { content: Content; at: number; site: string | undefined } | undefined;
  /** A text of the first version that can be read. */
  decoy: string;
  /** The content of the claims of version 2 besides `jti`, `aud` and `exp`. */
  readClaims(claims: Record<string, unknown>): Content | undefined;
  /** What tells two of the first version apart. Nothing in it may be changeable without the key. */
  identity(content: Content): readonly string[];
}

export type Opened<Content> =
  | { content: Content; integration: string; use: Use; refusal?: undefined }
  | { refusal: TicketRefusal };

/** How the text is to be opened, before any key is asked; undefined when it has no form at all. */
export type TicketForm = { sealed: string; kid: string } | { legacy: Buffer };

/** Checks length and characters. What it refuses has cost nothing. */
export function readForm(text: string): TicketForm | undefined {
  if (isSealed(text)) {
    const kid = readKeyId(text);
    return kid === undefined ? undefined : { sealed: text, kid };
  }
  const legacy = readLegacyText(text);
  return legacy === undefined ? undefined : { legacy };
}

/** What a ticket or token says under one of the keys, at the right time and for the right site. */
export async function openTicket<Content>(
  kind: TicketKind<Content>,
  form: TicketForm,
  keys: readonly IntegrationKey[],
  now: Date,
): Promise<Opened<Content>> {
  return 'legacy' in form ? openFirst(kind, form.legacy, keys, now) : openSecond(kind, form, keys, now);
}

function openFirst<Content>(
  kind: TicketKind<Content>,
  bytes: Buffer,
  keys: readonly IntegrationKey[],
  now: Date,
): Opened<Content> {
  const taken = keys.filter(({ legacy }) => legacy);
  const opened = openLegacy(taken, bytes, (text) => kind.readLegacy(text), kind.decoy);
  if (opened === undefined) return { refusal: 'content' };
  const { content, at, site } = opened.content;
  const { integration, integrationId } = opened.key;
  if (Math.abs(now.getTime() - at) > ticketWindowMs) return { refusal: 'time' };
  if (site !== undefined && site.toLowerCase() !== opened.key.site.toLowerCase()) return { refusal: 'site' };
  return {
    content,
    integration,
    use: {
      content: [kind.name, '1', integrationId, String(at), ...kind.identity(content)],
      expiresAt: rememberedUntil(at + ticketWindowMs),
    },
  };
}

async function openSecond<Content>(
  kind: TicketKind<Content>,
  { sealed, kid }: { sealed: string; kid: string },
  keys: readonly IntegrationKey[],
  now: Date,
): Promise<Opened<Content>> {
  const key = keys.find((candidate) => candidate.kid === kid);
  // An unknown key is tried as a known one is, with bytes that open nothing.
  const claims = await openSealed(key?.key ?? randomBytes(ticketKeyBytes), sealed);
  if (claims === undefined || key === undefined) return { refusal: 'content' };
  const { jti, aud, exp, ...others } = claims;
  const content = kind.readClaims(others);
  if (content === undefined) return { refusal: 'content' };
  if (!isNow(claims, now)) return { refusal: 'time' };
  if (aud.toLowerCase() !== audienceOf(key.site).toLowerCase()) return { refusal: 'site' };
  return {
    content,
    integration: key.integration,
    use: { content: [kind.name, '2', key.integrationId, jti], expiresAt: rememberedUntil(exp * 1_000) },
  };
}

function isNow({ exp }: SealedClaims, now: Date): boolean {
  const leftMs = exp * 1_000 - now.getTime();
  return leftMs > 0 && leftMs <= maxSealedLifeMs;
}

/** A window longer than it could be taken: the database's clock, which forgets it, may be ahead of ours. */
function rememberedUntil(lastMs: number): Date {
  return new Date(lastMs + ticketWindowMs);
}

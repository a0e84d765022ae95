import { randomUUID } from 'node:crypto';
import { isIP } from 'node:net';
import { WaybillError } from '../../schema/errors.ts';
import type { IntegrationKey } from './integrationKeys.ts';
import { sealLegacy } from './legacyCipher.ts';
import { ticketWindowMs } from './refusal.ts';
import { audienceOf, seal } from './sealedTicket.ts';
import { printTicketXml, readTicketXml } from './ticketXml.ts';
import { printTime } from './times.ts';
import { findMisformed, printUploadJson, type UploadContent } from './uploadJson.ts';

export interface Made {
  text: string;
  version: 1 | 2;
  expiresAt: Date;
}

/**
 * A ticket for a user, `DOMAIN\user` or the name alone; without a version, the first when the integration takes that.
 * Throws invalid for a name that no ticket holds, conflict for a version that the integration does not take.
 */
export async function makeTicket(
  key: IntegrationKey,
  { user, version, now }: { user: string; version?: 1 | 2 | undefined; now: Date },
): Promise<Made> {
  const chosen = chooseVersion(key, version);
  const text = printTicketXml({ timestamp: printTime(now), site: key.site, userName: user });
  if ((readTicketXml(text)?.userName ?? '') === '')
    throw new WaybillError('invalid', 'a ticket holds a user name of at most 255 characters, none of them control', {
      field: 'user',
    });
  return finish(key, chosen, now, text, { sub: user });
}

/** An upload token. Throws invalid for a part out of form, conflict for a version that the integration does not take. */
export async function makeUploadToken(
  key: IntegrationKey,
  { content, version, now }: { content: UploadContent; version?: 1 | 2 | undefined; now: Date },
): Promise<Made> {
  const chosen = chooseVersion(key, version);
  const field = findMisformed({ ...content }) ?? (isIP(content.ip) === 0 ? 'ip' : undefined);
  if (field !== undefined) throw new WaybillError('invalid', wanted[field], { field });
  return finish(key, chosen, now, printUploadJson(content, printTime(now)), { ...content });
}

const wanted: Record<keyof UploadContent, string> = {
  folderId: 'the id of a folder has 1 to 128 letters, digits, hyphens and underscores',
  email: 'the e-mail address of a token has the form name@host, in ASCII',
  ip: 'a token is for one IPv4 or IPv6 address, such as 203.0.113.9',
  session: 'the session of a token is the sessionId that a sign-in gave: wbs_...',
};

function chooseVersion({ legacy, integration }: IntegrationKey, version: 1 | 2 | undefined): 1 | 2 {
  if (version === 1 && !legacy)
    throw new WaybillError('conflict', `the integration ${integration} takes version 2 only; make one with --legacy`, {
      field: 'version',
    });
  return version ?? (legacy ? 1 : 2);
}

async function finish(
  key: IntegrationKey,
  version: 1 | 2,
  now: Date,
  legacyText: string,
  claims: Record<string, string>,
): Promise<Made> {
  const expiresAt = new Date(Math.floor((now.getTime() + ticketWindowMs) / 1_000) * 1_000);
  if (version === 1) return { text: sealLegacy(key, legacyText), version, expiresAt };
  const common = { jti: randomUUID(), aud: audienceOf(key.site), exp: expiresAt.getTime() / 1_000 };
  return { text: await seal(key.key, key.kid, { ...common, ...claims }), version, expiresAt };
}

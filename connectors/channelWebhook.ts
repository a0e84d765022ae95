import { Type } from 'typebox';
import { WaybillError } from '../schema/errors.ts';
import type { ConnectorContext, Health, Notifier, OutgoingMessage, RequestAnswer } from './contract.ts';
import { exchange } from './exchange.ts';
import { statusError } from './httpStatus.ts';
import { createRedactor } from './redaction.ts';

/** The config and the secrets of a channel that takes messages at an address of its own: whoever knows the address may post. */
export const channelConfig = Type.Object(
  {
    allowPlain: Type.Optional(
      Type.Boolean({
        default: false,
        description: 'Allows an address that begins with http://. Only for a network that nobody else can read.',
      }),
    ),
  },
  { additionalProperties: false },
);
export const channelSecrets = {
  url: { description: 'Address of the incoming webhook. Whoever knows it can post, so it is a secret.' },
  ca: { description: 'Certificates of the authorities to trust, in PEM format, instead of the public ones.' },
};

const timeoutMs = 30_000;
const answerBytes = 64 * 1024;

export interface Channel {
  /** For errors: `Slack`. */
  name: string;
  allowPlain: boolean;
  secrets: Record<string, string>;
  context: ConnectorContext;
  /** The JSON to post. Throws unsupported for a format that it does not show. */
  payload(message: OutgoingMessage): unknown;
  /** What a check asks, and which statuses show that the channel is there; it must not post anything. */
  probe: { method: string; body: string | null; isThere(status: number): boolean };
}

/** Opens a channel. Throws invalid when the address is none. */
export function openChannel(channel: Channel): Notifier {
  const { name, secrets, context, probe } = channel;
  const url = readAddress(channel);
  const dispatcher = secrets.ca === undefined ? context.dialler.http : context.dialler.httpWith({ ca: secrets.ca });
  const redact = createRedactor([url.href, `${url.pathname}${url.search}`, url.pathname, secrets.url ?? '']);
  const post = (method: string, body: string | null, signal: AbortSignal): Promise<RequestAnswer> => {
    const headers: Record<string, string> = body === null ? {} : { 'content-type': 'application/json; charset=utf-8' };
    return exchange({ dispatcher, url, method, headers, body, maxAnswerBytes: answerBytes, timeoutMs, redact }, signal);
  };
  return {
    async check(signal): Promise<Health> {
      const startedAt = performance.now();
      const answer = await post(probe.method, probe.body, signal);
      const roundTripMs = Math.round(performance.now() - startedAt);
      if (!probe.isThere(answer.status)) throw statusError(answer, `the ${name} webhook`);
      return { server: `${name} webhook at ${url.host}, HTTP ${answer.status}`, roundTripMs, identity: null };
    },
    async send(message, signal) {
      if (message.to.length > 0)
        throw new WaybillError('unsupported', `a ${name} webhook posts into one channel; leave out \`to\``, {
          field: 'to',
        });
      const answer = await post('POST', JSON.stringify(channel.payload(message)), signal);
      if (answer.status < 200 || answer.status > 299) throw statusError(answer, `the ${name} webhook`);
      return { accepted: 1, rejected: [] };
    },
    async close() {
      if (secrets.ca !== undefined) await dispatcher.destroy();
    },
  };
}

function readAddress({ secrets, allowPlain }: Channel): URL {
  const url = URL.parse((secrets.url ?? '').trim());
  if (url === null || (url.protocol !== 'https:' && url.protocol !== 'http:'))
    throw new WaybillError('invalid', 'the secret url is not an address that begins with https://', { field: 'url' });
  if (url.protocol === 'http:' && !allowPlain)
    throw new WaybillError('invalid', 'the secret url begins with http://: use https, or say allowPlain: true', {
      field: 'url',
    });
  return url;
}

/** The format is one of those that the channel shows. Throws unsupported. */
export function requireFormat(name: string, { format }: OutgoingMessage, ...shown: string[]): void {
  if (!shown.includes(format))
    throw new WaybillError('unsupported', `${name} does not show ${format}; use ${shown.join(' or ')}`, {
      field: 'format',
    });
}

/** Says which secret is missing; all of them have only that one. */
export function lintChannel(secretNames: readonly string[]): Array<{ field: string; message: string }> {
  return secretNames.includes('url') ? [] : [{ field: 'secrets', message: 'has no url: the address of the webhook' }];
}

import { type SecretReference, WebhookDocument } from '../schema/configuration.ts';
import { eventTypes, reservedEventFamilies } from '../schema/events.ts';
import { didYouMean } from './expressions.ts';
import { checkResourceName } from './names.ts';
import type { Report } from './report.ts';
import { checkSchema } from './schemaCheck.ts';
import { reportInlineSecrets } from './secretReferences.ts';
import type { Located } from './source.ts';

export interface CheckedWebhook {
  name: string;
  url: string;
  events: string[];
  secrets: Record<string, SecretReference>;
}

/** Checks a webhook document. Gives null when it has errors. Where it may connect to is the egress guard's matter, when it does. */
export function checkWebhook(root: Located, report: Report): CheckedWebhook | null {
  const errorsBefore = report.errors;
  const secrets = root.entries?.get('secrets')?.value;
  const inline = reportInlineSecrets(secrets, report);
  if (inline.length === 0) checkSchema(root, WebhookDocument, report);
  const name = root.entries?.get('webhook');
  if (name) checkResourceName(name.value.value, name.value.range, report);
  if (name && inline.length === 0 && !secrets?.entries?.has('signing')) {
    report.add(
      'MISSING_KEY',
      root.entries?.get('secrets')?.key ?? name.key,
      'a webhook needs a signing secret, so that its receiver can tell who calls',
      'add `secrets: { signing: { file: ./whsec } }`',
    );
  }
  checkUrl(root.entries?.get('url')?.value, report);
  for (const filter of root.entries?.get('events')?.value.items ?? []) lintFilter(filter, report);
  if (report.errors > errorsBefore) return null;
  const { url, events, secrets: references = {} } = structuredClone(root.value) as unknown as CheckedWebhook;
  return { name: String(name!.value.value), url, events, secrets: references };
}

function checkUrl(url: Located | undefined, report: Report): void {
  if (typeof url?.value !== 'string') return;
  const parsed = URL.canParse(url.value) ? new URL(url.value) : null;
  if (!parsed || !/^https?:$/.test(parsed.protocol))
    report.add('INVALID_WEBHOOK', url.range, 'the url must be an absolute https:// or http:// address');
  else if (parsed.username !== '' || parsed.password !== '')
    report.add(
      'INLINE_SECRET',
      url.range,
      'the url holds a user name or password; the signing secret proves who calls',
    );
  else if (parsed.hash !== '') report.add('INVALID_WEBHOOK', url.range, 'the url must not have a fragment (#)');
}

function lintFilter(filter: Located, report: Report): void {
  if (typeof filter.value !== 'string' || filter.value.endsWith('*')) return;
  const family = filter.value.split('.')[0]!;
  if (!reservedEventFamilies.includes(family) || (eventTypes as readonly string[]).includes(filter.value)) return;
  report.add(
    'UNKNOWN_EVENT',
    filter.range,
    `Waybill writes no event "${filter.value.slice(0, 100)}"`,
    didYouMean(filter.value, eventTypes),
  );
}

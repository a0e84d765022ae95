import { errorKinds } from '../schema/errors.ts';
import type { Failure, Json } from '../schema/plan.ts';
import { formatBytes } from '../schema/quantities.ts';
import type { ProgressLine } from './port.ts';

/** "copy partner:/out/*.csv -> landing:/acme/": what a step does, for Temporal's UI. At most 200 characters. */
export function summarise(use: string, input: Record<string, Json>): string {
  return words(use, input).slice(0, 200);
}

function words(use: string, input: Record<string, Json>): string {
  switch (use) {
    case 'transfer.copy@1':
      return `copy ${place(input.from)} -> ${place(input.to)}`;
    case 'files.list@1':
      return `list ${place(input.from)}`;
    case 'files.move@1':
      return `move ${place(input.from)} -> ${String(input.to)}`;
    case 'files.delete@1':
      return `delete ${place(input.at)}`;
    case 'files.stat@1':
      return `look at ${place(input.at)}`;
    case 'files.read@1':
      return `read ${place(input.at)}`;
    case 'files.write@1':
      return `write ${place(input.to)}`;
    case 'files.makeFolder@1':
      return `make folder ${place(input.at)}`;
    case 'notify.send@1':
      return `tell ${String(input.via)}: ${String(input.subject ?? input.text)}`;
    case 'http.request@1':
      return `${String(input.method ?? 'GET')} ${String(input.endpoint)}:${String(input.path)}`;
    case 'session.open@1':
      return input.as == null ? 'open a session' : `open a session of ${String(input.as)}`;
    case 'session.close@1':
      return `close ${String(input.session)}`;
    case 'webhook.send@1':
      return `send ${String(input.event)}`;
    case 'audit.write@1':
      return `write ${String(input.event)}`;
    default:
      return use;
  }
}

function place(location: Json | undefined): string {
  if (typeof location === 'string') return location;
  if (Array.isArray(location)) return location.map(place).join(', ');
  const { endpoint, path, glob } = (location ?? {}) as Record<string, string>;
  return `${endpoint}:${path ?? glob ?? ''}`;
}

/** Rows that the details pane shows; a pipeline can have 500 steps. */
const detailRows = 60;

/**
 * What the operator sees while a run goes on: what all of it waits for, and a Markdown table of its steps. The UI puts no
 * space between the cells of a table: they bring their own.
 */
export function detailsPage(waitsFor: string | null, lines: readonly ProgressLine[]): string {
  const row = (cells: string[]) => `| ${cells.join(` |${'\u00a0'.repeat(4)}`)} |`;
  const shown = lines.length <= detailRows ? lines : [...lines].sort(unfinishedFirst).slice(0, detailRows);
  const rows = shown.map(({ step, state, done, total, bytes, failed }) =>
    row([`\`${step}\``, state, total === 0 ? '' : `${done} of ${total}`, formatBytes(bytes), `${failed}`]),
  );
  const table = [row(['step', 'state', 'done', 'sent', 'failed']), '|---|---|--:|--:|--:|', ...rows];
  // Below the table: the pane is narrow, and cuts off what stands in a last column.
  const waits = shown
    .filter(({ waitsFor: what }) => what !== undefined)
    .map(({ step, waitsFor: what }) => `- \`${step}\` waits: ${inCell(what!)}`);
  const left = lines.length - shown.length;
  return [
    ...(waitsFor === null ? [] : [`**${waitsFor}**`, '']),
    ...(lines.length === 0 ? [] : table),
    ...(left > 0 ? ['', `and ${left} more`] : []),
    ...(waits.length === 0 ? [] : ['', ...waits]),
  ].join('\n');
}

/** Why a run ended, in one sentence for a list of failed workflows: kind, step, place, what happened, what to do. */
export function failureSentence({ kind, message, step, endpoint, path }: Failure): string {
  const place = [endpoint, path].filter((part) => part !== null && !message.includes(part)).join(' ');
  const where = step === null ? '' : ` in step ${step}`;
  return `${kind}${where}: ${place === '' ? '' : `${place}: `}${message.replace(/\.$/, '')}. ${errorKinds[kind].advice}`;
}

function unfinishedFirst(left: ProgressLine, right: ProgressLine): number {
  const order = { failed: 0, running: 1, waiting: 2, skipped: 3, done: 4 };
  return order[left.state] - order[right.state];
}

function inCell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ');
}

import { type Command, InvalidArgumentError } from 'commander';
import { deliveryStates } from '../../schema/plan.ts';
import { formatBytes, parseDurationMs } from '../../schema/quantities.ts';
import { type CommandContext, type CommonOptions, clientOf, outputOf } from '../context.ts';
import { printable, printList } from '../output.ts';
import { addPageOptions, type PageOptions, readPage, searchPage } from '../page.ts';
import { resendDelivery } from '../runs/run.ts';
import { finish } from './runs.ts';

/** A delivery as the command line shows it. */
export interface DeliveryView {
  id: string;
  state: string;
  source: { endpoint: string; path: string; size: number; modified: string | null };
  target: { endpoint: string; path: string };
  bytes: number;
  sha256: string | null;
  evidence: string | null;
  attempt: number;
  error: { kind: string; message: string; advice: string } | null;
  publishedAt: string | null;
  run: { id: string };
}

export const deliveriesQuery = `query Deliveries($first: Int, $after: String, $filter: DeliveryFilter) {
  page: deliveries(first: $first, after: $after, filter: $filter) { edges { node {
    id state source { endpoint path size modified } target { endpoint path } bytes sha256 evidence attempt
    error { kind message advice } publishedAt run { id } } } pageInfo { hasNextPage endCursor } } }`;

const transfersQuery = `query Transfers($first: Int, $after: String, $run: ID) {
  page: transfers(first: $first, after: $after, run: $run) { edges { node {
    id step status sourceEndpoint targetEndpoints createdAt endedAt counts { files bytes skipped failed } run { id } } }
    pageInfo { hasNextPage endCursor } } }`;

interface TransferView {
  id: string;
  step: string;
  status: string;
  sourceEndpoint: string;
  targetEndpoints: string[];
  createdAt: string;
  endedAt: string | null;
  counts: { files: number; bytes: number; skipped: number; failed: number };
  run: { id: string };
}

/** `waybill transfers`, `deliveries list | resend`, `find`. */
export function addTransferCommands(program: Command, context: CommandContext): void {
  addPageOptions(common(program.command('transfers')))
    .description('list transfers, the newest first')
    .option('--run <run>')
    .action(async (options: CommonOptions & PageOptions & { run?: string }) => {
      const request = { query: transfersQuery, variables: { run: options.run } };
      const page = await readPage<TransferView>(clientOf(context, options), options, request);
      printList(
        outputOf(context, options),
        page,
        ['TRANSFER', 'STEP', 'FROM', 'TO', 'STATUS', 'FILES', 'BYTES'],
        (transfer) => [
          transfer.id,
          transfer.step,
          transfer.sourceEndpoint,
          transfer.targetEndpoints.join(', '),
          transfer.status,
          String(transfer.counts.files),
          formatBytes(transfer.counts.bytes),
        ],
      );
    });

  const deliveries = program.command('deliveries').description('deliveries; without more, the list');
  addPageOptions(deliveries.command('list', { isDefault: true }).option('--json', 'one JSON object on stdout'))
    .description('list deliveries, the newest first')
    .option('--run <run>')
    .option(
      '--state <state>',
      'a delivery state, or the state folder of a running `waybill dev`; may be given for both',
      (text: string, known: string[]) => [...known, text],
      [] as string[],
    )
    .action(async (options: { json?: boolean; run?: string; state: string[] } & PageOptions) => {
      const isDeliveryState = (text: string): boolean => (deliveryStates as readonly string[]).includes(text);
      const state = options.state.find(isDeliveryState);
      const folder = options.state.find((text) => !isDeliveryState(text));
      const { json = false, first, after, run } = options;
      await list(context, { json, first, ...(after && { after }), ...(folder && { state: folder }) }, { run, state });
    });

  common(deliveries.command('resend'))
    .description('send a file that was delivered once more: the same version, to the same place')
    .argument('<delivery>')
    .requiredOption('--reason <text>', 'kept in the audit log')
    .option('--wait', 'wait until it has ended')
    .action(async (id: string, options: CommonOptions & { reason: string; wait?: boolean }) => {
      const run = await resendDelivery(clientOf(context, options), id, options.reason);
      await finish(context, options, run, options.wait === true);
    });

  addPageOptions(common(program.command('find')))
    .description('find deliveries by a glob over source and target paths')
    .argument('<glob>')
    .option('--endpoint <name>')
    .option('--since <duration>', 'not older than, such as 7d', parseSince)
    .option('--sha256 <hash>')
    .action(
      async (
        glob: string,
        options: CommonOptions & PageOptions & { endpoint?: string; since?: string; sha256?: string },
      ) => {
        const { endpoint, since, sha256 } = options;
        await list(context, options, { glob, endpoint, since, sha256: sha256?.toLowerCase() });
      },
    );
}

async function list(
  context: CommandContext,
  options: CommonOptions & PageOptions,
  filter: Record<string, unknown>,
): Promise<void> {
  const request = { query: deliveriesQuery, variables: { filter } };
  const page = await searchPage<DeliveryView>(clientOf(context, options), options, request);
  printList(
    outputOf(context, options),
    page,
    ['DELIVERY', 'STATE', 'BYTES', 'SHA-256', 'SOURCE', 'TARGET'],
    (delivery) => [
      delivery.id,
      delivery.error === null ? delivery.state : `${delivery.state} (${delivery.error.kind})`,
      formatBytes(delivery.bytes),
      delivery.sha256?.slice(0, 16) ?? '-',
      printable(`${delivery.source.endpoint}:${delivery.source.path}`),
      printable(`${delivery.target.endpoint}:${delivery.target.path}`),
    ],
  );
}

function common(command: Command): Command {
  return command
    .option('--state <folder>', 'state folder of a running `waybill dev`')
    .option('--json', 'one JSON object on stdout');
}

function parseSince(text: string): string {
  const durationMs = parseDurationMs(text);
  if (durationMs === undefined) throw new InvalidArgumentError('a duration is 30m, 12h, 7d ...');
  return new Date(Date.now() - durationMs).toISOString();
}

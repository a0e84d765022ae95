import { type Command, InvalidArgumentError, Option } from 'commander';
import type { ErrorKind } from '../../schema/errors.ts';
import { runStatuses } from '../../schema/plan.ts';
import { formatBytes } from '../../schema/quantities.ts';
import { type CommandContext, type CommonOptions, clientOf, outputOf } from '../context.ts';
import { exitCodeOf, exitCodes } from '../exit.ts';
import { type Output, printList } from '../output.ts';
import { addPageOptions, type PageOptions, readPage } from '../page.ts';
import {
  cancelRun,
  decideRun,
  hasEnded,
  type RunView,
  readRun,
  retryRun,
  runFields,
  runReport,
  startRun,
} from '../runs/run.ts';
import { describeRun, watchRun } from '../runs/watch.ts';

interface RunOptions extends CommonOptions {
  input: Record<string, string>;
  version?: string;
  idempotencyKey?: string;
  wait?: boolean;
}

/** `waybill run`, `runs list | show`, `watch`, `pause`, `resume`, `cancel`, `retry`. */
export function addRunCommands(program: Command, context: CommandContext): void {
  common(program.command('run'))
    .description('start a run of a published pipeline')
    .argument('<pipeline>')
    .option('--input <name=value>', 'an input; may be given several times', collectInput, {})
    .option('--version <hash>', 'at least 8 digits of a version, instead of the live one')
    .option('--idempotency-key <key>', 'the same key never starts a second run')
    .option('--wait', 'wait until it has ended')
    .action(async (pipeline: string, options: RunOptions) => {
      const client = clientOf(context, options);
      const run = await startRun(client, pipeline, options.input, options);
      await finish(context, options, run, options.wait === true);
    });

  const runs = program.command('runs').description('runs; without more, the list');
  addPageOptions(common(runs.command('list', { isDefault: true })))
    .description('list runs, the newest first')
    .option('--pipeline <name>')
    .addOption(new Option('--status <status>').choices(runStatuses))
    .action(async (options: CommonOptions & PageOptions & { pipeline?: string; status?: string }) => {
      const page = await readPage<RunView>(clientOf(context, options), options, {
        query: `query Runs($first: Int, $after: String, $pipeline: String, $status: RunStatus) {
          page: runs(first: $first, after: $after, pipeline: $pipeline, status: $status) {
            edges { node { ${runFields} } } pageInfo { hasNextPage endCursor } } }`,
        variables: { pipeline: options.pipeline, status: options.status },
      });
      const items = page.items.map((run) => ({
        ...runReport(run).run,
        counts: run.counts,
        createdAt: run.createdAt,
      }));
      printList(
        outputOf(context, options),
        { items, next: page.next },
        ['RUN', 'PIPELINE', 'STATUS', 'STARTED', 'FILES', 'BYTES'],
        (run) => [
          run.id,
          run.pipeline,
          run.paused === null ? run.status : `${run.status} (paused)`,
          run.startedAt ?? '-',
          String(run.counts.files),
          formatBytes(run.counts.bytes),
        ],
      );
    });

  common(runs.command('show'))
    .description("one run, by its id or by its workflow's id in Temporal")
    .argument('<run>')
    .action(async (id: string, options: CommonOptions) => {
      show(outputOf(context, options), await readRun(clientOf(context, options), id));
    });

  common(program.command('watch'))
    .description('follow a run until it has ended')
    .argument('<run>')
    .action(async (id: string, options: CommonOptions) => {
      await finish(context, options, await readRun(clientOf(context, options), id), true);
    });

  common(program.command('cancel'))
    .description('cancel a run; its finally blocks still run')
    .argument('<run>')
    .option('--reason <text>')
    .action(async (id: string, options: CommonOptions & { reason?: string }) => {
      const output = outputOf(context, options);
      const { run, note } = await cancelRun(clientOf(context, options), id, options.reason);
      show(output, run);
      if (note !== null) output.note(note);
    });

  for (const [verb, decision, description] of [
    ['pause', 'pauseRun', 'hold a run: nothing new starts, and transfers stop where they can go on'],
    ['resume', 'resumeRun', 'let a paused run go on'],
  ] as const)
    common(program.command(verb))
      .description(description)
      .argument('<run>')
      .option('--reason <text>')
      .action(async (id: string, options: CommonOptions & { reason?: string }) => {
        const output = outputOf(context, options);
        const { run, note } = await decideRun(clientOf(context, options), decision, id, options.reason);
        show(output, run);
        if (note !== null) output.note(note);
      });

  common(program.command('retry'))
    .description('run the same version with the same inputs again')
    .argument('<run>')
    .option('--failed', 'only the deliveries that failed')
    .option('--wait', 'wait until it has ended')
    .action(async (id: string, options: CommonOptions & { failed?: boolean; wait?: boolean }) => {
      const run = await retryRun(clientOf(context, options), id, options.failed === true);
      await finish(context, options, run, options.wait === true);
    });
}

/** Shows a run that was started, when it has ended if that is waited for, and says by the exit code how it went. */
export async function finish(
  context: CommandContext,
  options: CommonOptions,
  run: RunView,
  wait: boolean,
): Promise<void> {
  const output = outputOf(context, options);
  const ended = wait ? await watchRun(clientOf(context, options), run, output) : run;
  show(output, ended);
  context.setExitCode(exitCodeOfRun(ended));
}

/** A run that was not waited for and goes on is as good as it can be. */
function exitCodeOfRun({ status, error }: RunView): number {
  if (status === 'succeeded' || !hasEnded(status)) return exitCodes.done;
  if (status === 'partial') return exitCodes.partial;
  return status === 'refused' && error !== null ? exitCodeOf(error.kind as ErrorKind) : exitCodes.failed;
}

function show(output: Output, run: RunView): void {
  if (output.json) output.object(runReport(run));
  else describeRun(run, output);
}

function common(command: Command): Command {
  return command
    .option('--state <folder>', 'state folder of a running `waybill dev`')
    .option('--json', 'one JSON object on stdout');
}

function collectInput(text: string, known: Record<string, string>): Record<string, string> {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('an input is name=value.');
  return { ...known, [text.slice(0, at)]: text.slice(at + 1) };
}

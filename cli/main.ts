import { CommanderError } from 'commander';
import type { Diagnostic } from '../schema/diagnostics.ts';
import { asWaybillError, type WaybillError } from '../schema/errors.ts';
import type { CommandContext } from './context.ts';
import { formatDiagnostics } from './diagnostics.ts';
import { exitCodeOf, exitCodes } from './exit.ts';
import { buildProgram } from './program.ts';
import { readCommandEnvironment } from './settings.ts';

process.exitCode = await main(process.argv);

async function main(words: string[]): Promise<number> {
  // A reader that closes early (`waybill runs | head -1`) is not a fault of ours.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    process.exit(exitCodes.done);
  });
  let exitCode: number = exitCodes.done;
  const context: CommandContext = {
    streams: { stdout: process.stdout, stderr: process.stderr, stdin: process.stdin },
    environment: process.env,
    command: readCommandEnvironment(process.env),
    setExitCode: (code) => {
      exitCode = code;
    },
  };
  try {
    await buildProgram(context).parseAsync(words);
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.done : exitCodes.usage;
    return report(asWaybillError(error), words.includes('--json'));
  }
}

function report(error: WaybillError, json: boolean): number {
  const diagnostics = error.context.diagnostics as Diagnostic[] | undefined;
  const runId = error.context.runId as string | undefined;
  process.stderr.write(`waybill: ${error.message}\n`);
  if (error.kind === 'internal' && error.cause instanceof Error) process.stderr.write(`${error.cause.stack}\n`);
  if (diagnostics !== undefined && diagnostics.length > 0) process.stderr.write(`${formatDiagnostics(diagnostics)}\n`);
  if (runId !== undefined) process.stderr.write(`waybill: ${runId} is recorded as refused\n`);
  if (json) {
    const { kind, message } = error;
    const facts = {
      ok: false,
      error: { kind, message },
      ...(runId === undefined ? {} : { run: { id: runId, status: 'refused' } }),
      ...(diagnostics === undefined ? {} : { diagnostics }),
    };
    process.stdout.write(`${JSON.stringify(facts)}\n`);
  }
  return exitCodeOf(error.kind);
}

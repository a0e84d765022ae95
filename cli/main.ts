import { Command, CommanderError } from 'commander';
import type { Diagnostic } from '../schema/diagnostics.ts';
import { asWaybillError, type WaybillError } from '../schema/errors.ts';
import { addApplyCommand } from './commands/apply.ts';
import { addDemoCommand } from './commands/demo.ts';
import { addDevCommand } from './commands/dev.ts';
import { addDoctorCommand } from './commands/doctor.ts';
import { addEndpointCommands } from './commands/endpoints.ts';
import { addKeyCommands } from './commands/keys.ts';
import { addRunCommands } from './commands/runs.ts';
import { addSecretCommands } from './commands/secrets.ts';
import { addServiceCommands } from './commands/serve.ts';
import { addTransferCommands } from './commands/transfers.ts';
import { addValidateCommand } from './commands/validate.ts';
import type { CommandContext } from './context.ts';
import { formatDiagnostics } from './diagnostics.ts';
import { exitCodeOf, exitCodes } from './exit.ts';
import { readCommandEnvironment } from './settings.ts';
import { packageVersion } from './version.ts';

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

function buildProgram(context: CommandContext): Command {
  const program = new Command('waybill')
    .description('Headless managed file transfer: YAML pipelines move files whole, once, with proof.')
    .version(packageVersion())
    .helpCommand(false)
    .showSuggestionAfterError(true)
    .exitOverride();
  addDemoCommand(program, context);
  addDevCommand(program, context);
  addDoctorCommand(program, context);
  addValidateCommand(program, context);
  addApplyCommand(program, context);
  addRunCommands(program, context);
  addTransferCommands(program, context);
  addEndpointCommands(program, context);
  addKeyCommands(program, context);
  addSecretCommands(program, context);
  addServiceCommands(program, context);
  program.addHelpText(
    'after',
    '\nExit codes: 0 done, 1 the work failed (also partial), 2 wrong usage or invalid file, 3 cannot reach the server, 4 not allowed.\nServer: --state, or WAYBILL_URL and WAYBILL_API_KEY.',
  );
  return program;
}

function report(error: WaybillError, json: boolean): number {
  const diagnostics = error.context.diagnostics as Diagnostic[] | undefined;
  process.stderr.write(`waybill: ${error.message}\n`);
  if (error.kind === 'internal' && error.cause instanceof Error) process.stderr.write(`${error.cause.stack}\n`);
  if (diagnostics !== undefined && diagnostics.length > 0) process.stderr.write(`${formatDiagnostics(diagnostics)}\n`);
  if (json) {
    const { kind, message } = error;
    const facts = { ok: false, error: { kind, message }, ...(diagnostics === undefined ? {} : { diagnostics }) };
    process.stdout.write(`${JSON.stringify(facts)}\n`);
  }
  return exitCodeOf(error.kind);
}

import { type Command, InvalidArgumentError } from 'commander';
import { type CommandContext, outputOf } from '../context.ts';
import { tellOneTimePassword } from '../firstPassword.ts';
import type { Output } from '../output.ts';
import { followSignals } from '../supervisor/signals.ts';
import type { DevFacts } from '../supervisor/stateFolder.ts';

interface DevCommandOptions {
  state: string;
  port: number;
  temporalPort: number;
  uiPort: number;
  host: string;
  encryptedUi?: boolean;
  json?: boolean;
}

/** `waybill dev`: everything in one terminal, until Ctrl-C. */
export function addDevCommand(program: Command, context: CommandContext): void {
  program
    .command('dev')
    .description('start PostgreSQL, Temporal, the API and a worker; the state survives restarts')
    .option('--state <folder>', 'where the state lives', '.waybill')
    .option('--port <port>', 'port of the API; 0 takes a free one', parsePort, 4000)
    .option('--temporal-port <port>', "port of Temporal's gRPC; 0 takes a free one", parsePort, 7233)
    .option('--ui-port <port>', "port of Temporal's UI; 0 takes a free one", parsePort, 8233)
    .option('--host <address>', 'address that the API listens on', '127.0.0.1')
    .option('--encrypted-ui', "Temporal's UI shows payloads encrypted: for a machine that others use")
    .option('--json', 'one JSON line on stdout when all is up')
    .action(async (options: DevCommandOptions) => {
      process.title = 'waybill dev';
      const output = outputOf(context, options);
      const signals = followSignals();
      // Loaded here, as in every command that needs much: the others start faster.
      const { startDev } = await import('../supervisor/dev.ts');
      const dev = await startDev({
        ...options,
        command: context.command,
        environment: context.environment,
        signal: signals.stop,
        onProgress: (message) => output.note(message),
        onOneTimePassword: (password) => output.note(tellOneTimePassword(password)),
      });
      if (output.json) output.object(dev.facts());
      else describe(output, dev.facts());
      await signals.untilStop();
      output.note('stopping');
      signals.onSecond(() => dev.kill());
      await dev.stop();
    });
}

function parsePort(text: string): number {
  const port = Number(text);
  if (/^\d+$/.test(text) && port <= 65535) return port;
  throw new InvalidArgumentError('a port is a number from 0 to 65535.');
}

function describe(output: Output, facts: DevFacts): void {
  const { bold, dim } = output.colors;
  output.line(bold('Waybill is up.'));
  output.line(`  GraphQL      ${facts.graphql}`);
  output.line(`  Temporal     ${facts.temporal}`);
  output.line(`  Temporal UI  ${facts.temporalUi ?? '-'}`);
  output.line(`  API key      ${facts.apiKeyFile}`);
  output.line(`  psql         ${facts.databaseUrl}`);
  output.line(dim('Next: waybill apply FILE, waybill run PIPELINE --wait. Ctrl-C stops it; the state stays.'));
}

import { type Command, InvalidArgumentError } from 'commander';
import { type TaskQueue, taskQueues } from '../../schema/workflow.ts';
import { type CommandContext, outputOf } from '../context.ts';
import { tellOneTimePassword } from '../firstPassword.ts';
import { createLog } from '../log.ts';
import { runService } from '../services/process.ts';
import { describeSettings, readMigrateSettings, readServiceSettings } from '../settings.ts';

/** `waybill api`, `worker`, `migrate`: the services alone, configured by environment. */
export function addServiceCommands(program: Command, context: CommandContext): void {
  const settingsHelp = `\nEnvironment:\n${describeSettings()
    .map(({ name, description }) => `  ${name.padEnd(26)}${description}`)
    .join('\n')}`;

  program
    .command('api')
    .description('serve GraphQL (configured by environment)')
    .addHelpText('after', settingsHelp)
    .action(async () => {
      const settings = readServiceSettings(context.environment);
      const log = createLog('api', settings.logLevel);
      const start = async (signal: AbortSignal) => {
        const { startApiService } = await import('../services/api.ts');
        return startApiService(settings, log, signal);
      };
      context.setExitCode(await runService('api', log, start));
    });

  program
    .command('worker')
    .description('run pipelines (configured by environment)')
    .option('--only <queues>', `whose work it does, of ${allQueues.join(',')} (default: all)`, readQueues)
    .addHelpText('after', settingsHelp)
    .action(async ({ only = allQueues }: { only?: readonly TaskQueue[] }) => {
      widenThreadPool(context.environment);
      const settings = readServiceSettings(context.environment);
      const log = createLog('worker', settings.logLevel);
      const start = async (signal: AbortSignal) => {
        const { startWorkerService } = await import('../services/workerService.ts');
        return startWorkerService(settings, log, signal, only);
      };
      context.setExitCode(await runService('worker', log, start));
    });

  program
    .command('migrate')
    .description('bring the database to the newest migration (DATABASE_OWNER_URL, DATABASE_URL, DATABASE_SYSTEM_URL)')
    .option('--tenant <name>', 'with --api-key-file: the tenant, made when it is absent', 'default')
    .option('--api-key-file <file>', "write a key of the tenant's owner there, unless the file exists")
    .option('--json', 'one JSON object on stdout')
    .action(async (options: { json?: boolean; tenant: string; apiKeyFile?: string }) => {
      const output = outputOf(context, options);
      const { migrate } = await import('../../prisma/migrate.ts');
      const settings = readMigrateSettings(context.environment);
      const applied = await migrate({ ...settings, onProgress: (message) => output.note(message) });
      if (options.apiKeyFile !== undefined) {
        const { writeFirstKey } = await import('../services/firstKey.ts');
        const first = await writeFirstKey(settings, options.tenant, options.apiKeyFile);
        output.note(
          first !== null
            ? `wrote a key of ${options.tenant} to ${options.apiKeyFile}`
            : `${options.apiKeyFile} is there already`,
        );
        if (first?.oneTimePassword != null) output.note(tellOneTimePassword(first.oneTimePassword));
      }
      if (output.json) output.object({ ok: true, applied });
      else output.line(applied.length === 0 ? 'the database is up to date' : `applied: ${applied.join(', ')}`);
    });
}

const allQueues = Object.keys(taskQueues) as TaskQueue[];

function readQueues(text: string): readonly TaskQueue[] {
  const names = text.split(',').map((name) => name.trim());
  const queues = allQueues.filter((queue) => names.includes(queue));
  if (queues.length !== names.length)
    throw new InvalidArgumentError(`name one or several of ${allQueues.join(', ')}, with commas between`);
  return queues;
}

/** Files that sync to disk at the same time each hold a thread of libuv's, and with its four all others would wait. */
const fileThreads = 16;

/** libuv looks at the variable when it needs its first thread: nothing has read a file without waiting for it so far. */
function widenThreadPool(environment: Record<string, string | undefined>): void {
  environment.UV_THREADPOOL_SIZE ??= `${fileThreads}`;
}

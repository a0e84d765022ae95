import type { Command } from 'commander';
import { ownerName } from '../../identity/firstRun.ts';
import { WaybillError } from '../../schema/errors.ts';
import { ask } from '../ask.ts';
import { type CommandContext, type CommonOptions, outputOf } from '../context.ts';
import { readSystemUrl } from '../embedded/postgres.ts';
import { exitCodes } from '../exit.ts';
import { type Output, printList, table } from '../output.ts';
import { addPageOptions, type PageOptions } from '../page.ts';
import type { Removal, Tenants } from '../services/tenants.ts';
import { type OperatorSettings, readOperatorSettings } from '../settings.ts';
import { readDevFacts } from '../supervisor/stateFolder.ts';

/** `waybill tenants create | list | suspend | resume | export | delete`, for whoever has the credentials of the database. */
export function addTenantCommands(program: Command, context: CommandContext): void {
  const tenants = program
    .command('tenants')
    .description('the tenants of the installation (DATABASE_OWNER_URL, DATABASE_URL, TEMPORAL_ADDRESS)');
  addCreate(tenants, context);
  addList(tenants, context);
  addSuspend(tenants, context);
  addExport(tenants, context);
  addDelete(tenants, context);
}

interface CreateOptions extends CommonOptions {
  host: string[];
  apiKeyFile?: string;
}

function addCreate(tenants: Command, context: CommandContext): void {
  common(tenants.command('create'))
    .description('make a tenant with an owner, whose one-time password is shown once')
    .argument('<name>', 'it is reached under /t/<name>/')
    .option('--host <name>', 'host name that it is reached under too; repeatable', collect, [])
    .option('--api-key-file <file>', 'write a key of the owner there')
    .action(async (name: string, options: CreateOptions) => {
      await withTenants(context, options, async (opened, output) => {
        const apiKeyFile = options.apiKeyFile ?? null;
        const { tenantId, oneTimePassword } = await opened.create({ name, hosts: options.host }, apiKeyFile);
        if (output.json)
          output.object({ tenant: name, tenantId, hosts: options.host, owner: ownerName, oneTimePassword, apiKeyFile });
        else {
          output.line(`tenant ${name} (${tenantId}), owner: ${ownerName}, one-time password: ${oneTimePassword}`);
          output.note('It is not shown again; the first sign-in sets another one.');
        }
      });
    });
}

function addList(tenants: Command, context: CommandContext): void {
  addPageOptions(common(tenants.command('list')))
    .description('list tenants by name, and what each is reached under (DATABASE_SYSTEM_URL)')
    .action(async (options: CommonOptions & PageOptions) => {
      await withTenants(context, options, async (opened, output) => {
        const { tenants: found, hasMore } = await opened.list(options);
        const items = found.map(({ id, name, createdAt, suspendedAt, hosts, isDefault }) => ({
          tenant: name,
          tenantId: id,
          state: suspendedAt === null ? 'open' : 'suspended',
          createdAt: createdAt.toISOString(),
          suspendedAt: suspendedAt?.toISOString() ?? null,
          sites: [`/t/${name}/`, ...hosts],
          isDefault,
        }));
        const page = { items, next: hasMore ? items.at(-1)!.tenant : null };
        printList(output, page, ['NAME', 'STATE', 'CREATED', 'SITES'], (item) => [
          item.tenant,
          item.state,
          item.createdAt,
          [...item.sites, ...(item.isDefault ? ['(and all that are no other tenant’s)'] : [])].join(' '),
        ]);
      });
    });
}

function addSuspend(tenants: Command, context: CommandContext): void {
  common(tenants.command('suspend'))
    .description('shut a tenant: its keys and sessions are refused, its runs are cancelled')
    .argument('<name>')
    .action(async (name: string, options: CommonOptions) => {
      await withTenants(context, options, async (opened, output) => {
        const { suspendedAt, sessions, runs, told } = await opened.suspend(name);
        if (!told) output.note('Temporal does not answer; the worker tells the runs to end as soon as it does');
        if (output.json)
          output.object({ tenant: name, suspendedAt: suspendedAt.toISOString(), sessions, runs: runs.length });
        else
          output.line(
            `${name} is suspended since ${suspendedAt.toISOString()}; ended: ${sessions} sessions, ${runs.length} runs`,
          );
      });
    });

  common(tenants.command('resume'))
    .description('open a suspended tenant again; its keys are good again, its sessions and runs stay ended')
    .argument('<name>')
    .action(async (name: string, options: CommonOptions) => {
      await withTenants(context, options, async (opened, output) => {
        const resumed = await opened.resume(name);
        if (output.json) output.object({ tenant: name, resumed });
        else output.line(resumed ? `${name} is open again` : `${name} was not suspended`);
      });
    });
}

function addExport(tenants: Command, context: CommandContext): void {
  common(tenants.command('export'))
    .description('write everything of a tenant but its secrets as JSON lines, a file for each table')
    .argument('<name>')
    .option('--folder <folder>', 'empty or new (default: NAME-export)')
    .action(async (name: string, options: CommonOptions & { folder?: string }) => {
      const folder = options.folder ?? `${name}-export`;
      await withTenants(context, options, async (opened, output) => {
        const { files, tenant } = await opened.export(name, folder);
        const rows = files.reduce((total, file) => total + file.rows, 0);
        const tables = Object.fromEntries(files.map((file) => [file.table, file.rows]));
        if (output.json) output.object({ tenant: name, tenantId: tenant.id, folder, tables, rows });
        else {
          printCounts(output, 'ROWS', tables);
          output.line(`${rows} rows in ${folder}; sha256sum -c SHA256SUMS verifies them`);
        }
      });
    });
}

function addDelete(tenants: Command, context: CommandContext): void {
  common(tenants.command('delete'))
    .description('remove everything of a tenant from database and Temporal, and count what is left')
    .argument('<name>')
    .option('--yes-delete <name>', 'the name once more, which a terminal asks for otherwise: nothing brings it back')
    .option('--cancel-runs', 'end the runs that go on, instead of refusing')
    .action(async (name: string, options: CommonOptions & { yesDelete?: string; cancelRuns?: boolean }) => {
      const { yesDelete = await askAgain(context, options, name) } = options;
      if (yesDelete !== name)
        throw new WaybillError('invalid', `${yesDelete} is not ${name}; nothing was deleted`, {
          field: '--yes-delete',
        });
      await withTenants(context, options, async (opened, output) => {
        const removal = await opened.delete(name, { cancelRuns: options.cancelRuns === true });
        printRemoval(output, name, removal);
        if (removal.remaining + removal.remainingWorkflows > 0) context.setExitCode(exitCodes.failed);
      });
    });
}

/** Who types a name wrongly types it differently the second time; a script has thought about it before. */
async function askAgain(context: CommandContext, options: CommonOptions, name: string): Promise<string> {
  const output = outputOf(context, options);
  if (!output.interactive) return name;
  return ask(context, `Everything of ${name} will be removed, and nothing brings it back. Its name once more: `);
}

function printRemoval(output: Output, name: string, removal: Removal): void {
  const { tenantId, removed, remaining, workflows, remainingWorkflows, schedules } = removal;
  if (output.json) {
    output.object({ tenant: name, tenantId, removed, remaining, workflows, remainingWorkflows, schedules });
    return;
  }
  printCounts(output, 'REMOVED', removed);
  output.line(`workflows removed: ${workflows}, schedules: ${schedules}`);
  output.line(`counted afterwards: ${remaining} rows, ${remainingWorkflows} workflows of ${name} (${tenantId})`);
}

function printCounts(output: Output, title: string, counts: Record<string, number>): void {
  const rows = Object.entries(counts).map(([name, count]) => [name, `${count}`]);
  for (const line of table(['TABLE', title], rows)) output.line(line);
}

async function withTenants(
  context: CommandContext,
  options: CommonOptions,
  work: (opened: Tenants, output: Output) => Promise<void>,
): Promise<void> {
  const settings = await settingsOf(context, options.state);
  const { openTenants } = await import('../services/tenants.ts');
  const opened = openTenants(settings);
  try {
    await work(opened, outputOf(context, options));
  } finally {
    await opened.close();
  }
}

const defaultState = '.waybill';

/** The environment names the installation, or it is the `waybill dev` of a state folder. Throws unavailable and invalid. */
async function settingsOf(context: CommandContext, state: string | undefined): Promise<OperatorSettings> {
  const isNamed = (context.environment.DATABASE_OWNER_URL ?? '') !== '';
  const facts = state === undefined && isNamed ? null : readDevFacts(state ?? defaultState);
  if (facts !== null)
    return {
      ownerUrl: facts.databaseUrl,
      applicationUrl: facts.appDatabaseUrl,
      systemUrl: await readSystemUrl(state ?? defaultState, facts.appDatabaseUrl),
      temporalAddress: facts.temporal,
      temporalNamespace: 'default',
    };
  if (state !== undefined)
    throw new WaybillError('unavailable', `\`waybill dev\` does not run on ${state}; start it, or name its folder`);
  return readOperatorSettings(context.environment);
}

function collect(host: string, hosts: string[]): string[] {
  return [...hosts, host];
}

function common(command: Command): Command {
  return command
    .option('--state <folder>', 'state folder of a running `waybill dev`')
    .option('--json', 'one JSON object on stdout');
}

import { type Command, Option } from 'commander';
import { roles } from '../../identity/permissions.ts';
import { WaybillError } from '../../schema/errors.ts';
import { type ApiClient, mutate } from '../client.ts';
import { type CommandContext, type CommonOptions, clientOf, outputOf } from '../context.ts';
import type { Output } from '../output.ts';
import { printList } from '../output.ts';
import { addPageOptions, type PageOptions, readPage } from '../page.ts';

interface AccountView {
  id: string;
  name: string;
  role: string;
  grants: { action: 'actAs' | 'use'; target: string }[] | null;
}

const accountFields = 'id name role grants { action target }';

/** `waybill service-accounts create | grant | revoke | list`. */
export function addServiceAccountCommands(program: Command, context: CommandContext): void {
  const accounts = program.command('service-accounts').description('accounts that runs act as, and what was granted');

  common(accounts.command('create'))
    .description('make an account; it may do nothing until something is granted')
    .argument('<name>')
    .addOption(new Option('--role <role>', 'what it may do besides what is granted').choices(roles).default('service'))
    .action(async (name: string, { role, ...options }: CommonOptions & { role: string }) => {
      const input = { name, role };
      show(
        outputOf(context, options),
        await change(clientOf(context, options), 'createServiceAccount', 'CreateServiceAccountInput', input),
      );
    });

  common(addGrantOptions(accounts.command('grant')))
    .description('let an account act as another one, or use an endpoint')
    .argument('<name>')
    .action(async (name: string, options: GrantOptions) => {
      const input = grantOf(name, options);
      show(outputOf(context, options), await change(clientOf(context, options), 'grantAccount', 'GrantInput', input));
    });

  common(addGrantOptions(accounts.command('revoke')))
    .description('take a grant away; runs that go on are not stopped')
    .argument('<name>')
    .action(async (name: string, options: GrantOptions) => {
      const input = grantOf(name, options);
      show(outputOf(context, options), await change(clientOf(context, options), 'revokeGrant', 'GrantInput', input));
    });

  addPageOptions(common(accounts.command('list')))
    .description('list accounts and their grants')
    .action(async (options: CommonOptions & PageOptions) => {
      const page = await readPage<AccountView>(clientOf(context, options), options, {
        query: `query Accounts($first: Int, $after: String) { page: serviceAccounts(first: $first, after: $after) {
          edges { node { ${accountFields} } } pageInfo { hasNextPage endCursor } } }`,
      });
      printList(outputOf(context, options), page, ['NAME', 'ROLE', 'GRANTS'], (account) => [
        account.name,
        account.role,
        grantsOf(account),
      ]);
    });
}

interface GrantOptions extends CommonOptions {
  actAs?: string;
  use?: string;
}

function addGrantOptions(command: Command): Command {
  return command
    .addOption(new Option('--act-as <account>', 'runs act as that account').conflicts('use'))
    .option('--use <endpoint>', 'runs reach that endpoint');
}

function grantOf(account: string, { actAs, use }: GrantOptions): { account: string; action: string; target: string } {
  if (actAs !== undefined) return { account, action: 'actAs', target: actAs };
  if (use !== undefined) return { account, action: 'use', target: use };
  throw new WaybillError('invalid', 'say what is granted: --act-as ACCOUNT or --use ENDPOINT');
}

async function change(client: ApiClient, name: string, inputType: string, input: object): Promise<AccountView> {
  const selects = `... on AccountPayload { account { ${accountFields} } }`;
  return (await mutate<{ account: AccountView }>(client, { name, inputType, input, selects })).account;
}

function show(output: Output, account: AccountView): void {
  if (output.json) output.object({ account });
  else output.line(`${account.name} (${account.role}): ${grantsOf(account)}`);
}

function grantsOf({ grants }: AccountView): string {
  return (grants ?? []).map(({ action, target }) => `${action} ${target}`).join(', ') || '-';
}

function common(command: Command): Command {
  return command
    .option('--state <folder>', 'state folder of a running `waybill dev`')
    .option('--json', 'one JSON object on stdout');
}

import { type Command, InvalidArgumentError } from 'commander';
import { type Mutation, mutate } from '../client.ts';
import { type CommandContext, type CommonOptions, clientOf, outputOf } from '../context.ts';
import { printable, printList } from '../output.ts';
import { addPageOptions, type PageOptions, readPage } from '../page.ts';

interface ApplicationView {
  applicationId: number;
  name: string;
  disabledAt: string | null;
}

const applicationFields = 'applicationId name disabledAt';

/** `waybill apps register | list | disable`. */
export function addApplicationCommands(program: Command, context: CommandContext): void {
  const applications = program.command('apps').description('applications that users sign in with');

  common(applications.command('register'))
    .description('let users sign in with an application; a disabled one is let in again')
    .requiredOption('--id <number>', '1000 to 2147483647', readId)
    .requiredOption('--name <name>', 'what it is called')
    .action(async ({ id, name, ...options }: CommonOptions & { id: number; name: string }) => {
      const input = { id, name };
      await change(context, options, { name: 'registerApplication', inputType: 'RegisterApplicationInput', input });
    });

  addPageOptions(common(applications.command('list')))
    .description('list applications')
    .action(async (options: CommonOptions & PageOptions) => {
      const page = await readPage<ApplicationView>(clientOf(context, options), options, {
        query: `query Applications($first: Int, $after: String) { page: applications(first: $first, after: $after) { edges { node { ${applicationFields} } } pageInfo { hasNextPage endCursor } } }`,
      });
      printList(outputOf(context, options), page, ['ID', 'NAME', 'DISABLED'], (application) => [
        `${application.applicationId}`,
        printable(application.name),
        application.disabledAt ?? '-',
      ]);
    });

  common(applications.command('disable'))
    .description('let nobody sign in with it any more; sessions that stand go on')
    .argument('<id>', 'its number', readId)
    .action(async (id: number, options: CommonOptions) => {
      const input = { id };
      await change(context, options, { name: 'disableApplication', inputType: 'DisableApplicationInput', input });
    });
}

async function change(
  context: CommandContext,
  options: CommonOptions,
  mutation: Omit<Mutation, 'selects'>,
): Promise<void> {
  const output = outputOf(context, options);
  const selects = `... on ApplicationPayload { application { ${applicationFields} } }`;
  const client = clientOf(context, options);
  const { application } = await mutate<{ application: ApplicationView }>(client, { ...mutation, selects });
  if (output.json) return output.object({ application });
  const { applicationId, name, disabledAt } = application;
  output.line(`${applicationId} (${printable(name)}) is ${disabledAt === null ? 'registered' : 'disabled'}`);
}

/** GraphQL has integers of 32 bits; which of them are good the server says. */
function readId(text: string): number {
  const id = Number(text);
  if (/^\d{1,10}$/.test(text) && id < 2 ** 31) return id;
  throw new InvalidArgumentError('a number from 1000 to 2147483647.');
}

function common(command: Command): Command {
  return command
    .option('--state <folder>', 'state folder of a running `waybill dev`')
    .option('--json', 'one JSON object on stdout');
}

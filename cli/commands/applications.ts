import { type Command, InvalidArgumentError } from 'commander';
import { errorFields, payloadOf, type TypedError } from '../client.ts';
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
      await show(context, options, 'registerApplication', 'RegisterApplicationInput', { id, name });
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
      await show(context, options, 'disableApplication', 'DisableApplicationInput', { id });
    });
}

type ApplicationAnswer = ({ __typename: string } & { application: ApplicationView }) | TypedError;

async function show(
  context: CommandContext,
  options: CommonOptions,
  mutation: string,
  inputType: string,
  input: object,
): Promise<void> {
  const output = outputOf(context, options);
  const answer = await clientOf(context, options).request<Record<string, ApplicationAnswer>>(
    `mutation Change($input: ${inputType}!) { ${mutation}(input: $input) { ${errorFields} ... on ApplicationPayload { application { ${applicationFields} } } } }`,
    { input },
  );
  const { application } = payloadOf(answer[mutation]!);
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

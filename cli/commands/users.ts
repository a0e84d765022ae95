import { type Command, Option } from 'commander';
import { roles } from '../../identity/permissions.ts';
import { mutate } from '../client.ts';
import { type CommandContext, type CommonOptions, clientOf, outputOf } from '../context.ts';
import { printable, printList } from '../output.ts';
import { addPageOptions, type PageOptions, readPage } from '../page.ts';
import { readSecretInput } from '../secretInput.ts';

interface UserView {
  userId: number;
  userName: string;
  email: string | null;
  firstName: string | null;
  lastName: string | null;
  role: string;
  disabledAt: string | null;
}

const userFields = 'userId userName email firstName lastName role disabledAt';

/** `waybill users create | list | update | disable | enable | set-role | set-password | reset-authenticator`. A password never comes as an argument. */
export function addUserCommands(program: Command, context: CommandContext): void {
  const users = program.command('users').description('who signs in with a password');
  addCreate(users, context);
  addList(users, context);
  addUpdate(users, context);
  addSetPassword(users, context);
  addChange(users, context, 'disable', 'disableUser', 'end the sessions and keys of a user from now on');
  addChange(users, context, 'enable', 'enableUser', 'let a disabled or a locked user in again');
  addChange(users, context, 'reset-authenticator', 'resetAuthenticator', "forget a user's authenticator");

  common(users.command('set-role'))
    .description('give a user another role')
    .argument('<username>')
    .argument('<role>', roles.join(', '))
    .action(async (userName: string, role: string, options: CommonOptions) => {
      await change(context, options, 'changeUser', 'ChangeUserInput', { userName, role });
    });
}

interface DetailOptions extends CommonOptions {
  email?: string;
  first?: string;
  last?: string;
  role?: string;
}

type CreateOptions = DetailOptions & { passwordFile: string };

function addCreate(users: Command, context: CommandContext): void {
  common(users.command('create'))
    .description('make a user')
    .argument('<username>')
    .requiredOption('--email <address>', 'e-mail address')
    .option('--first <name>', 'first name')
    .option('--last <name>', 'last name')
    .addOption(new Option('--role <role>', 'what the user may do (default: uploader)').choices(roles))
    .requiredOption('--password-file <file>', 'the password; - reads it from standard input')
    .action(async (userName: string, options: CreateOptions) => {
      await change(context, options, 'createUser', 'CreateUserInput', {
        userName,
        ...detailsOf(options),
        password: await readSecretInput(context, options.passwordFile, '--password-file'),
      });
    });
}

function addUpdate(users: Command, context: CommandContext): void {
  common(users.command('update'))
    .description('change what is given of a user')
    .argument('<username>')
    .option('--email <address>', 'e-mail address')
    .option('--first <name>', "first name; '' removes it")
    .option('--last <name>', "last name; '' removes it")
    .addOption(new Option('--role <role>', 'what the user may do').choices(roles))
    .action(async (userName: string, options: DetailOptions) => {
      await change(context, options, 'changeUser', 'ChangeUserInput', { userName, ...detailsOf(options) });
    });
}

function detailsOf({ email, first, last, role }: DetailOptions): Record<string, string> {
  return {
    ...(email !== undefined && { email }),
    ...(first !== undefined && { firstName: first }),
    ...(last !== undefined && { lastName: last }),
    ...(role !== undefined && { role }),
  };
}

function addList(users: Command, context: CommandContext): void {
  addPageOptions(common(users.command('list')))
    .description('list users')
    .action(async (options: CommonOptions & PageOptions) => {
      const page = await readPage<UserView>(clientOf(context, options), options, {
        query: `query Users($first: Int, $after: String) { page: users(first: $first, after: $after) { edges { node { ${userFields} } } pageInfo { hasNextPage endCursor } } }`,
      });
      const header = ['USER ID', 'NAME', 'ROLE', 'EMAIL', 'PERSON', 'DISABLED'];
      printList(outputOf(context, options), page, header, (user) => [
        `${user.userId}`,
        user.userName,
        user.role,
        printable(user.email),
        printable([user.firstName, user.lastName].filter(Boolean).join(' ') || null),
        user.disabledAt ?? '-',
      ]);
    });
}

function addSetPassword(users: Command, context: CommandContext): void {
  common(users.command('set-password'))
    .description('give a user another password; the sessions of somebody else end')
    .argument('<username>')
    .requiredOption('--password-file <file>', 'the password; - reads it from standard input')
    .option('--one-time', 'good for one sign-in, which may only set another one')
    .action(async (userName: string, options: CommonOptions & { passwordFile: string; oneTime?: boolean }) => {
      await change(context, options, 'setPassword', 'SetPasswordInput', {
        userName,
        password: await readSecretInput(context, options.passwordFile, '--password-file'),
        ...(options.oneTime === true && { oneTime: true }),
      });
    });
}

function addChange(users: Command, context: CommandContext, verb: string, mutation: string, description: string): void {
  common(users.command(verb))
    .description(description)
    .argument('<username>')
    .action(async (userName: string, options: CommonOptions) => {
      await change(context, options, mutation, 'UserNameInput', { userName });
    });
}

async function change(
  context: CommandContext,
  options: CommonOptions,
  name: string,
  inputType: string,
  input: object,
): Promise<void> {
  const output = outputOf(context, options);
  const selects = `... on UserPayload { user { ${userFields} } }`;
  const { user } = await mutate<{ user: UserView }>(clientOf(context, options), { name, inputType, input, selects });
  if (output.json) output.object({ user });
  else
    output.line(
      `${user.userName} (${user.role}, user ${user.userId})${user.disabledAt === null ? '' : ' is disabled'}`,
    );
}

function common(command: Command): Command {
  return command
    .option('--state <folder>', 'state folder of a running `waybill dev`')
    .option('--json', 'one JSON object on stdout');
}

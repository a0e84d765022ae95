import { type Command, Option } from 'commander';
import { type Mutation, mutate } from '../client.ts';
import { type CommandContext, type CommonOptions, clientOf, outputOf } from '../context.ts';
import { readSecretInput } from '../secretInput.ts';

/** `waybill ticket create` and `waybill token create`: what a partner's program makes, made by the server to try it. */
export function addTicketCommands(program: Command, context: CommandContext): void {
  const ticket = program.command('ticket').description('tickets that sign a user in');
  common(ticket.command('create'))
    .description('make a ticket; it is good once, for five minutes')
    .requiredOption('--integration <name>', 'whose key makes it')
    .requiredOption('--user <user>', 'DOMAIN\\user, or the name alone')
    .action(async ({ integration, user, ...options }: CommonOptions & TicketOptions) => {
      const input = { integration, user };
      await show(context, options, 'ticket', { name: 'createTicket', inputType: 'CreateTicketInput', input });
    });

  const token = program.command('token').description('tokens that open the upload page');
  common(token.command('create'))
    .description('make an upload token; it is good once, for five minutes')
    .requiredOption('--integration <name>', 'whose key makes it')
    .requiredOption('--folder <id>', 'where the files go')
    .requiredOption('--email <address>', 'whom the audit names')
    .requiredOption('--ip <address>', 'the one address that the upload comes from')
    .requiredOption('--session-file <file>', 'holds the sessionId of a sign-in; - for standard input')
    .addOption(new Option('--version <version>', 'of the token; 1 where that is taken').choices(['1', '2']))
    .action(
      async ({ integration, folder, email, ip, sessionFile, version, ...options }: CommonOptions & TokenOptions) => {
        const session = await readSecretInput(context, sessionFile, '--session-file');
        const chosen = version === undefined ? {} : { version: Number(version) };
        const input = { integration, folderId: folder, email, ip, session, ...chosen };
        await show(context, options, 'token', {
          name: 'createUploadToken',
          inputType: 'CreateUploadTokenInput',
          input,
        });
      },
    );
}

interface TicketOptions {
  integration: string;
  user: string;
}

interface TokenOptions {
  integration: string;
  folder: string;
  email: string;
  ip: string;
  sessionFile: string;
  version?: string;
}

interface TicketView {
  ticket: string;
  version: number;
  expiresAt: string;
}

async function show(
  context: CommandContext,
  options: CommonOptions,
  what: 'ticket' | 'token',
  mutation: Omit<Mutation, 'selects'>,
): Promise<void> {
  const output = outputOf(context, options);
  const selects = '... on TicketPayload { ticket version expiresAt }';
  const made = await mutate<TicketView>(clientOf(context, options), { ...mutation, selects });
  const { ticket, version, expiresAt } = made;
  if (output.json) return output.object({ [what]: ticket, version, expiresAt });
  output.line(ticket);
  output.note(`version ${version}, good once, until ${expiresAt}`);
}

function common(command: Command): Command {
  return command
    .option('--state <folder>', 'state folder of a running `waybill dev`')
    .option('--json', 'one JSON object on stdout');
}

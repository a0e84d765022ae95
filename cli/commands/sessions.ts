import type { Command } from 'commander';
import { mutate } from '../client.ts';
import { type CommandContext, type CommonOptions, clientOf, outputOf } from '../context.ts';
import { printable, printList } from '../output.ts';
import { addPageOptions, type PageOptions, readPage } from '../page.ts';

interface SessionView {
  id: string;
  principal: { name: string };
  impersonator: { name: string } | null;
  applicationId: number;
  kind: string;
  method: string | null;
  clientVersion: string | null;
  ipAddress: string | null;
  userString: string | null;
  createdAt: string;
  lastUsedAt: string | null;
  expiresAt: string;
  endedAt: string | null;
  endReason: string | null;
}

const sessionFields = `id principal { name } impersonator { name } applicationId kind method clientVersion ipAddress userString
  createdAt lastUsedAt expiresAt endedAt endReason`;

/** `waybill sessions list | close`. */
export function addSessionCommands(program: Command, context: CommandContext): void {
  const sessions = program.command('sessions').description('who is signed in');

  addPageOptions(common(sessions.command('list')))
    .description('list sessions, the newest first')
    .option('--user <name>', 'of one user')
    .action(async (options: CommonOptions & PageOptions & { user?: string }) => {
      const page = await readPage<SessionView>(clientOf(context, options), options, {
        query: `query Sessions($first: Int, $after: String, $user: String) {
          page: sessions(first: $first, after: $after, user: $user) { edges { node { ${sessionFields} } } pageInfo { hasNextPage endCursor } } }`,
        variables: { user: options.user },
      });
      printList(
        outputOf(context, options),
        page,
        ['SESSION', 'USER', 'APPLICATION', 'BY', 'FROM', 'CLIENT', 'USED', 'ENDED'],
        (session) => [
          session.id,
          printable(session.principal.name) +
            (session.impersonator ? ` (${printable(session.impersonator.name)})` : ''),
          String(session.applicationId),
          session.method ?? 'a run',
          printable(session.ipAddress),
          printable(session.clientVersion),
          session.lastUsedAt ?? '-',
          session.endedAt === null ? '-' : `${session.endedAt} ${session.endReason ?? ''}`,
        ],
      );
    });

  common(sessions.command('close'))
    .description('end a session, and stop the runs that it has started')
    .argument('<id>', 'ses_..., as `sessions list` shows it')
    .action(async (id: string, options: CommonOptions) => {
      const output = outputOf(context, options);
      const { session } = await mutate<{ session: SessionView }>(clientOf(context, options), {
        ...{ name: 'closeSession', inputType: 'CloseSessionInput', input: { id } },
        selects: `... on CloseSessionPayload { session { ${sessionFields} } }`,
      });
      if (output.json) output.object({ session });
      else output.line(`${session.id} of ${session.principal.name} has ended: ${session.endReason}`);
    });
}

function common(command: Command): Command {
  return command
    .option('--state <folder>', 'state folder of a running `waybill dev`')
    .option('--json', 'one JSON object on stdout');
}

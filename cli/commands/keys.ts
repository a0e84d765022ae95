import { type Command, InvalidArgumentError } from 'commander';
import { mutate } from '../client.ts';
import { type CommandContext, type CommonOptions, clientOf, outputOf } from '../context.ts';
import { printList } from '../output.ts';
import { addPageOptions, type PageOptions, readPage } from '../page.ts';

interface ApiKeyView {
  id: string;
  name: string;
  keyId: string;
  scopes: string[];
  allowedCidrs: string[];
  createdAt: string;
  expiresAt: string;
  lastUsedAt: string | null;
  revokedAt: string | null;
}

const keyFields = 'id name keyId scopes allowedCidrs createdAt expiresAt lastUsedAt revokedAt';

/** `waybill keys create | list | rotate | revoke`. */
export function addKeyCommands(program: Command, context: CommandContext): void {
  const keys = program.command('keys').description('API keys');
  addCreate(keys, context);
  addList(keys, context);
  addRotate(keys, context);
  addRevoke(keys, context);
}

function addCreate(keys: Command, context: CommandContext): void {
  common(keys.command('create'))
    .description('make a key; its text is shown once')
    .argument('<name>')
    .option('--scope <scope>', 'what it may do; may be given several times', oneMore, [] as string[])
    .option('--cidr <cidr>', 'a network it may come from; may be given several times', oneMore, [] as string[])
    .option('--days <days>', 'how long it is valid', parseDays)
    .action(async (name: string, options: CommonOptions & { scope: string[]; cidr: string[]; days?: number }) => {
      const output = outputOf(context, options);
      const input = {
        name,
        ...(options.scope.length > 0 && { scopes: options.scope }),
        ...(options.cidr.length > 0 && { allowedCidrs: options.cidr }),
        ...(options.days && { expiresInDays: options.days }),
      };
      const { apiKey, secret } = await mutate<{ apiKey: ApiKeyView; secret: string }>(clientOf(context, options), {
        ...{ name: 'createApiKey', inputType: 'CreateApiKeyInput', input },
        selects: `... on CreateApiKeyPayload { secret apiKey { ${keyFields} } }`,
      });
      if (output.json) return output.object({ apiKey, secret });
      output.line(secret);
      output.note(`${apiKey.id}, valid until ${apiKey.expiresAt}. It is not shown again.`);
    });
}

function addList(keys: Command, context: CommandContext): void {
  addPageOptions(common(keys.command('list')))
    .description('list keys')
    .action(async (options: CommonOptions & PageOptions) => {
      const page = await readPage<ApiKeyView>(clientOf(context, options), options, {
        query: `query Keys($first: Int, $after: String) { page: apiKeys(first: $first, after: $after) { edges { node { ${keyFields} } } pageInfo { hasNextPage endCursor } } }`,
      });
      printList(
        outputOf(context, options),
        page,
        ['KEY', 'NAME', 'SCOPES', 'FROM', 'EXPIRES', 'LAST USED', 'REVOKED'],
        (key) => [
          key.id,
          key.name,
          key.scopes.join(' '),
          key.allowedCidrs.join(' ') || 'anywhere',
          key.expiresAt,
          key.lastUsedAt ?? '-',
          key.revokedAt ?? '-',
        ],
      );
    });
}

function addRotate(keys: Command, context: CommandContext): void {
  common(keys.command('rotate'))
    .description('make a key with the rights of another one, which ends after the overlap; its text is shown once')
    .argument('<id>')
    .option('--overlap <duration>', 'how long both are good', '24h')
    .action(async (id: string, options: CommonOptions & { overlap: string }) => {
      const output = outputOf(context, options);
      const rotated = await mutate<RotatedKey>(clientOf(context, options), {
        ...{ name: 'rotateApiKey', inputType: 'RotateApiKeyInput', input: { id, overlap: options.overlap } },
        selects: `... on RotateApiKeyPayload { secret replacedUntil apiKey { ${keyFields} } }`,
      });
      const { apiKey, secret, replacedUntil } = rotated;
      if (output.json) return output.object({ apiKey, secret, replacedUntil });
      output.line(secret);
      output.note(`${apiKey.id}, valid until ${apiKey.expiresAt}. It is not shown again.`);
      output.note(`${id} is valid until ${replacedUntil}.`);
    });
}

function addRevoke(keys: Command, context: CommandContext): void {
  common(keys.command('revoke'))
    .description('end a key at once')
    .argument('<id>')
    .action(async (id: string, options: CommonOptions) => {
      const output = outputOf(context, options);
      const { apiKey } = await mutate<{ apiKey: ApiKeyView }>(clientOf(context, options), {
        ...{ name: 'revokeApiKey', inputType: 'RevokeApiKeyInput', input: { id } },
        selects: `... on RevokeApiKeyPayload { apiKey { ${keyFields} } }`,
      });
      if (output.json) output.object({ apiKey });
      else output.line(`${apiKey.id} (${apiKey.name}) is revoked`);
    });
}

interface RotatedKey {
  apiKey: ApiKeyView;
  secret: string;
  replacedUntil: string;
}

function common(command: Command): Command {
  return command
    .option('--state <folder>', 'state folder of a running `waybill dev`')
    .option('--json', 'one JSON object on stdout');
}

function oneMore(text: string, known: string[]): string[] {
  return [...known, text];
}

function parseDays(text: string): number {
  const days = Number(text);
  if (Number.isInteger(days) && days > 0) return days;
  throw new InvalidArgumentError('a whole number of days.');
}

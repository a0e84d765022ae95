import type { Command } from 'commander';
import { WaybillError } from '../../schema/errors.ts';
import { errorFields, mutate, payloadOf, type TypedError } from '../client.ts';
import { type CommandContext, type CommonOptions, clientOf, outputOf } from '../context.ts';
import { printList } from '../output.ts';
import { addPageOptions, type PageOptions, readPage } from '../page.ts';
import { readSecretText } from '../secretInput.ts';
import { readKeySettings } from '../settings.ts';

interface SecretView {
  id: string;
  name: string;
  updatedAt: string;
}

/** `waybill secrets set | list | rm | rotate | rewrap`. A value never comes as an argument: arguments are visible to every process. */
export function addSecretCommands(program: Command, context: CommandContext): void {
  const secrets = program.command('secrets').description('secrets that the server keeps, encrypted');

  common(secrets.command('set'))
    .description('store a secret, from a file, an environment variable or standard input')
    .argument('<name>')
    .option('--file <file>', 'read it from this file; - is standard input, as without it')
    .option('--env <variable>', 'read it from this environment variable')
    .action(async (name: string, options: CommonOptions & { file?: string; env?: string }) => {
      const output = outputOf(context, options);
      const value = await readValue(context, options);
      const { secret } = await mutate<{ secret: SecretView }>(clientOf(context, options), {
        ...{ name: 'setSecret', inputType: 'SetSecretInput', input: { name, value } },
        selects: '... on SetSecretPayload { secret { id name updatedAt } }',
      });
      if (output.json) output.object({ secret });
      else output.line(`${name} is stored`);
    });

  addPageOptions(common(secrets.command('list')))
    .description('list the names of secrets')
    .action(async (options: CommonOptions & PageOptions) => {
      const page = await readPage<SecretView>(clientOf(context, options), options, {
        query: `query Secrets($first: Int, $after: String) { page: secrets(first: $first, after: $after) { edges { node { id name updatedAt } } pageInfo { hasNextPage endCursor } } }`,
      });
      printList(outputOf(context, options), page, ['NAME', 'CHANGED'], (secret) => [secret.name, secret.updatedAt]);
    });

  common(secrets.command('rm'))
    .description('remove a secret')
    .argument('<name>')
    .action(async (name: string, options: CommonOptions) => {
      const output = outputOf(context, options);
      await mutate(clientOf(context, options), {
        ...{ name: 'removeSecret', inputType: 'RemoveSecretInput', input: { name } },
        selects: '... on RemoveSecretPayload { name }',
      });
      if (output.json) output.object({ removed: name });
      else output.line(`${name} is removed`);
    });

  addKeyRotation(secrets, context);
}

/** New keys under the secrets: a tenant's own, and the master key of the installation. */
function addKeyRotation(secrets: Command, context: CommandContext): void {
  common(secrets.command('rotate'))
    .description('give the tenant a new key, and seal all its secrets under it')
    .action(async (options: CommonOptions) => {
      const output = outputOf(context, options);
      const { rotateTenantKey } = await clientOf(context, options).request<{
        rotateTenantKey: { __typename: string; version: number; resealed: number } | TypedError;
      }>(`mutation { rotateTenantKey { ${errorFields} ... on RotateTenantKeyPayload { version resealed } } }`);
      const { version, resealed } = payloadOf(rotateTenantKey);
      if (output.json) output.object({ version, resealed });
      else output.line(`${resealed} secrets are sealed under version ${version} of the key`);
    });

  secrets
    .command('rewrap')
    .description('wrap the keys of all tenants by WAYBILL_MASTER_KEY (DATABASE_URL, DATABASE_SYSTEM_URL)')
    .option('--json', 'one JSON object on stdout')
    .action(async (options: CommonOptions) => {
      const output = outputOf(context, options);
      const settings = readKeySettings(context.environment);
      const { rewrapKeys } = await import('../services/rewrapKeys.ts');
      const { tenants, rewrapped, resealed } = await rewrapKeys(settings);
      if (output.json) output.object({ tenants, rewrapped, resealed });
      else
        output.line(`${rewrapped} keys of ${tenants} tenants were wrapped again, ${resealed} old secrets sealed again`);
    });
}

async function readValue(context: CommandContext, { file, env }: { file?: string; env?: string }): Promise<string> {
  if (file !== undefined && env !== undefined) throw new WaybillError('invalid', 'give --file or --env, not both');
  if (env !== undefined) {
    const value = context.environment[env];
    if (value === undefined || value === '')
      throw new WaybillError('invalid', `the environment variable ${env} is not set`);
    return value;
  }
  if (file === undefined && context.streams.stdin.isTTY === true)
    throw new WaybillError('invalid', 'give --file or --env, or the value on standard input');
  return readSecretText(context, file ?? '-', '--file');
}

function common(command: Command): Command {
  return command
    .option('--state <folder>', 'state folder of a running `waybill dev`')
    .option('--json', 'one JSON object on stdout');
}

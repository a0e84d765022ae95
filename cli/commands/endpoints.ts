import { writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { stringify } from 'yaml';
import type { HostKey } from '../../connectors/sftp/hostKeys.ts';
import { WaybillError } from '../../schema/errors.ts';
import { resourceNamePattern } from '../../schema/names.ts';
import { confirm } from '../ask.ts';
import { errorFields, payloadOf, type TypedError } from '../client.ts';
import { type CommandContext, type CommonOptions, clientOf, outputOf } from '../context.ts';
import { exitCodes } from '../exit.ts';
import { type Output, printable, printList } from '../output.ts';
import { addPageOptions, type PageOptions, readPage } from '../page.ts';
import { addEndpointControlCommands } from './endpointControl.ts';
import {
  type CheckView,
  checkFields,
  type EndpointView,
  endpointFields,
  showCheck,
  standingOf,
} from './endpointView.ts';

const defaultSftpPort = 22;

interface AddOptions {
  name: string;
  out?: string;
  key?: string;
  accept?: string;
  json?: boolean;
}

/** `waybill endpoints add | list | check | remove`, and what `endpointControl.ts` adds. */
export function addEndpointCommands(program: Command, context: CommandContext): void {
  const endpoints = program.command('endpoints').description('the places that files come from and go to');

  endpoints
    .command('add')
    .description('write the file of an SFTP endpoint, with the host key that you confirm')
    .argument('<url>', 'sftp://user@host[:port]/root')
    .requiredOption('--name <name>', 'name of the endpoint')
    .option('--out <file>', 'file to write (default: NAME.yaml)')
    .option('--key <file>', 'private key, relative to the file (default: ./NAME_ed25519)')
    .option('--accept <fingerprint>', 'the host key that the owner of the server told you: SHA256:...')
    .option('--json', 'one JSON object on stdout')
    .action((url: string, options: AddOptions) => add(context, url, options));

  addPageOptions(common(endpoints.command('list')))
    .description('list endpoints')
    .action(async (options: CommonOptions & PageOptions) => {
      const page = await readPage<EndpointView>(clientOf(context, options), options, {
        query: `query Endpoints($first: Int, $after: String) { page: endpoints(first: $first, after: $after) {
          edges { node { ${endpointFields} } } pageInfo { hasNextPage endCursor } } }`,
      });
      printList(
        outputOf(context, options),
        page,
        ['NAME', 'CONNECTOR', 'VERSION', 'STATE', 'HELD', 'LAST CHECK'],
        (endpoint) => [
          endpoint.name,
          endpoint.connector,
          String(endpoint.version),
          standingOf(endpoint).state,
          String(endpoint.heldDeliveries),
          endpoint.check === null ? 'never' : endpoint.check.ok ? 'ok' : printable(endpoint.check.errorKind),
        ],
      );
    });

  common(endpoints.command('check'))
    .description('reach it, sign in and try its rights, from the server')
    .argument('<name>')
    .option('--path <folder>', 'where rights are tried (default: /)')
    .action(async (name: string, options: CommonOptions & { path?: string }) => {
      const output = outputOf(context, options);
      const { checkEndpoint } = await clientOf(context, options).request<{ checkEndpoint: CheckAnswer }>(
        `mutation Check($input: CheckEndpointInput!) { checkEndpoint(input: $input) { ${errorFields} ... on CheckEndpointPayload { check { ${checkFields} } } } }`,
        { input: { name, ...(options.path !== undefined && { path: options.path }) } },
      );
      const { check } = payloadOf(checkEndpoint);
      if (output.json) output.object({ endpoint: name, check });
      else showCheck(output, name, check);
      context.setExitCode(check.ok ? exitCodes.done : exitCodes.failed);
    });

  common(endpoints.command('remove'))
    .description('remove an endpoint that no pipeline uses')
    .argument('<name>')
    .action(async (name: string, options: CommonOptions) => {
      const output = outputOf(context, options);
      const { removeEndpoint } = await clientOf(context, options).request<{
        removeEndpoint: { __typename: string; name: string } | TypedError;
      }>(
        `mutation Remove($input: RemoveEndpointInput!) { removeEndpoint(input: $input) { ${errorFields} ... on RemoveEndpointPayload { name } } }`,
        { input: { name } },
      );
      payloadOf(removeEndpoint);
      if (output.json) output.object({ removed: name });
      else output.line(`${name} is removed`);
    });

  addEndpointControlCommands(endpoints, context);
}

type CheckAnswer = ({ __typename: string } & { check: CheckView }) | TypedError;

async function add(context: CommandContext, text: string, options: AddOptions): Promise<void> {
  const output = outputOf(context, options);
  const { host, port, username, root } = parseSftpUrl(text);
  const { name, accept } = options;
  if (!new RegExp(resourceNamePattern).test(name)) {
    throw new WaybillError(
      'invalid',
      `the name ${JSON.stringify(name)} is not lower-case letters, digits and hyphens, 3 to 63 of them`,
    );
  }
  const offered = await offeredKeys(host, port);
  const fingerprints = await chooseKeys(context, output, offered, accept, `${host}:${port}`);

  const file = options.out ?? `${name}.yaml`;
  const document = {
    endpoint: name,
    apiVersion: 'waybill/v1',
    connector: 'sftp',
    config: { host, port, username, root, hostKeys: fingerprints },
    secrets: { privateKey: { file: options.key ?? `./${name}_ed25519` } },
  };
  await writeFile(file, stringify(document), { flag: 'wx' }).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'EEXIST') throw new WaybillError('exists', `${file} exists already; choose another --out`);
    throw new WaybillError('invalid', `cannot write ${file}: ${cause.code}`, { cause });
  });
  if (output.json) return output.object({ name, file, hostKeys: fingerprints });
  output.line(`${file} is written. Next: waybill apply ${file}`);
}

async function offeredKeys(host: string, port: number): Promise<HostKey[]> {
  const { createDialler } = await import('../../network/dialler.ts');
  const { scanHostKey } = await import('../../connectors/sftp/hostKeys.ts');
  // Whoever types the command decides where it dials, so every address is open to it.
  const dialler = createDialler({ loopback: true, allow: ['0.0.0.0/0', '::/0'] });
  return scanHostKey(dialler, host, port).finally(() => dialler.close());
}

/** The keys to trust: the accepted one, or all that are offered when the person at the terminal confirms them. */
async function chooseKeys(
  context: CommandContext,
  output: Output,
  offered: readonly HostKey[],
  accept: string | undefined,
  server: string,
): Promise<string[]> {
  const list = offered.map(({ algorithm, fingerprint }) => `  ${fingerprint}  ${algorithm}`).join('\n');
  output.note(`${server} offers:\n${list}`);
  if (accept !== undefined) {
    if (offered.some(({ fingerprint }) => fingerprint === accept)) return [accept];
    throw new WaybillError('integrity', `${server} does not offer the host key ${accept}; do not trust it`);
  }
  if (!output.interactive) {
    throw new WaybillError(
      'invalid',
      'nobody can confirm the host key here: ask the owner of the server for its fingerprint and give it by --accept',
    );
  }
  if (await confirm(context, output, 'Does the owner of the server confirm this?')) {
    return offered.map(({ fingerprint }) => fingerprint);
  }
  throw new WaybillError('cancelled', 'the host key was not confirmed; nothing was written');
}

function parseSftpUrl(text: string): { host: string; port: number; username: string; root: string } {
  const url = URL.parse(text);
  if (url === null || url.protocol !== 'sftp:' || url.hostname === '' || url.username === '') {
    throw new WaybillError('invalid', `${JSON.stringify(text)} is not sftp://user@host[:port]/root`);
  }
  if (url.password !== '')
    throw new WaybillError('invalid', 'a password does not belong in a URL; name it under `secrets:` in the file');
  return {
    host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: url.port === '' ? defaultSftpPort : Number(url.port),
    username: decodeURIComponent(url.username),
    root: decodeURIComponent(url.pathname) || '/',
  };
}

function common(command: Command): Command {
  return command
    .option('--state <folder>', 'state folder of a running `waybill dev`')
    .option('--json', 'one JSON object on stdout');
}

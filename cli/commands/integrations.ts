import type { Command } from 'commander';
import { mutate } from '../client.ts';
import { type CommandContext, type CommonOptions, clientOf, outputOf } from '../context.ts';
import { printList } from '../output.ts';
import { addPageOptions, type PageOptions, readPage } from '../page.ts';

interface IntegrationView {
  id: string;
  name: string;
  site: string;
  legacy: boolean;
  createdAt: string;
  disabledAt: string | null;
  keys: { kid: string; createdAt: string; endsAt: string | null; rotationDueAt: string }[];
}

const integrationFields = 'id name site legacy createdAt disabledAt keys { kid createdAt endsAt rotationDueAt }';
const selectsSecret =
  '... on IntegrationSecretPayload { kid keyBase64 ivBase64 oldKeyEndsAt integration { name site } }';

/** `waybill integrations create | rotate | list | disable`. */
export function addIntegrationCommands(program: Command, context: CommandContext): void {
  const integrations = program
    .command('integrations')
    .description("partners' sites that sign users in by tickets, with a shared secret");

  common(integrations.command('create'))
    .description('let a site make tickets; its secret is shown once')
    .argument('<name>')
    .requiredOption('--site <site>', 'what <sitename> of its tickets is')
    .option('--legacy', 'take tickets and tokens in AES-256-CBC too')
    .action(async (name: string, { site, legacy = false, ...options }: CommonOptions & CreateOptions) => {
      const made = await mutate<SecretView>(clientOf(context, options), {
        ...{ name: 'createIntegration', inputType: 'CreateIntegrationInput', input: { name, site, legacy } },
        selects: selectsSecret,
      });
      showSecret(context, options, made);
    });

  common(integrations.command('rotate'))
    .description('make a new secret, shown once; the one before it is good for a week more')
    .argument('<name>')
    .action(async (name: string, options: CommonOptions) => {
      const rotated = await mutate<SecretView>(clientOf(context, options), {
        ...{ name: 'rotateIntegration', inputType: 'RotateIntegrationInput', input: { name } },
        selects: selectsSecret,
      });
      showSecret(context, options, rotated);
    });

  addPageOptions(common(integrations.command('list')))
    .description('list integrations and the ages of their keys')
    .action(async (options: CommonOptions & PageOptions) => {
      const page = await readPage<IntegrationView>(clientOf(context, options), options, {
        query: `query Integrations($first: Int, $after: String) { page: integrations(first: $first, after: $after) { edges { node { ${integrationFields} } } pageInfo { hasNextPage endCursor } } }`,
      });
      const header = ['NAME', 'SITE', 'VERSIONS', 'KEYS', 'ROTATE BY', 'DISABLED'];
      printList(outputOf(context, options), page, header, ({ name, site, legacy, keys, disabledAt }) => [
        name,
        site,
        legacy ? '1, 2' : '2',
        keys.map(({ kid }) => kid).join(' '),
        keys.find(({ endsAt }) => endsAt === null)?.rotationDueAt ?? '-',
        disabledAt ?? '-',
      ]);
    });

  common(integrations.command('disable'))
    .description('refuse its tickets from now on; sessions that stand go on')
    .argument('<name>')
    .action(async (name: string, options: CommonOptions) => {
      const output = outputOf(context, options);
      const { integration } = await mutate<{ integration: IntegrationView }>(clientOf(context, options), {
        ...{ name: 'disableIntegration', inputType: 'DisableIntegrationInput', input: { name } },
        selects: `... on IntegrationPayload { integration { ${integrationFields} } }`,
      });
      if (output.json) output.object({ integration });
      else output.line(`${integration.name} is disabled`);
    });
}

interface CreateOptions {
  site: string;
  legacy?: boolean;
}

interface SecretView {
  kid: string;
  keyBase64: string;
  ivBase64: string;
  oldKeyEndsAt: string | null;
  integration: { name: string; site: string };
}

function showSecret(context: CommandContext, options: CommonOptions, secret: SecretView): void {
  const output = outputOf(context, options);
  const { kid, keyBase64, ivBase64, oldKeyEndsAt, integration } = secret;
  const { name, site } = integration;
  if (output.json) {
    output.object({ name, site, keyBase64, ivBase64, kid, ...(oldKeyEndsAt === null ? {} : { oldKeyEndsAt }) });
    return;
  }
  output.line(`key  ${keyBase64}`);
  output.line(`iv   ${ivBase64}`);
  output.line(`kid  ${kid}`);
  output.note(`${name} at ${site}: give these to the partner. They are not shown again.`);
  if (oldKeyEndsAt !== null) output.note(`The key before it is good until ${oldKeyEndsAt}.`);
}

function common(command: Command): Command {
  return command
    .option('--state <folder>', 'state folder of a running `waybill dev`')
    .option('--json', 'one JSON object on stdout');
}

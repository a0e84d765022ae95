import { type Command, InvalidArgumentError } from 'commander';
import { WaybillError } from '../../schema/errors.ts';
import { parseDurationMs, parseInstantMs } from '../../schema/quantities.ts';
import { errorFields, payloadOf, type TypedError } from '../client.ts';
import { type CommandContext, type CommonOptions, clientOf, outputOf } from '../context.ts';
import { printable, printList } from '../output.ts';
import { addPageOptions, type PageOptions } from '../page.ts';
import {
  type CheckView,
  checkFields,
  type EndpointView,
  endpointFields,
  showCheck,
  standingOf,
} from './endpointView.ts';

const defaultSweepAge = '24h';

/** `waybill endpoints show | checks | pause | resume | accept-host-key | sweep`. */
export function addEndpointControlCommands(endpoints: Command, context: CommandContext): void {
  common(endpoints.command('show'))
    .description('one endpoint: whether it takes work, what it bears, how its last check went')
    .argument('<name>')
    .action(async (name: string, options: CommonOptions) => {
      const { endpoint } = await clientOf(context, options).request<{ endpoint: EndpointView | null }>(
        `query Endpoint($name: String!) { endpoint(name: $name) { ${endpointFields} } }`,
        { name },
      );
      if (endpoint === null) throw new WaybillError('not-found', `there is no endpoint ${name}`);
      show(context, options, endpoint);
    });

  addPageOptions(common(endpoints.command('checks')))
    .description('the last checks of an endpoint, the newest first')
    .argument('<name>')
    .action(async (name: string, options: CommonOptions & PageOptions) => {
      const { first, after } = options;
      type Found = {
        checks: { edges: Array<{ node: CheckView }>; pageInfo: { hasNextPage: boolean; endCursor: string } };
      };
      const { endpoint } = await clientOf(context, options).request<{ endpoint: Found | null }>(
        `query Checks($name: String!, $first: Int, $after: String) { endpoint(name: $name) {
          checks(first: $first, after: $after) { edges { node { ${checkFields} } } pageInfo { hasNextPage endCursor } } } }`,
        { name, first, after },
      );
      if (endpoint === null) throw new WaybillError('not-found', `there is no endpoint ${name}`);
      const { edges, pageInfo } = endpoint.checks;
      const page = { items: edges.map(({ node }) => node), next: pageInfo.hasNextPage ? pageInfo.endCursor : null };
      printList(outputOf(context, options), page, ['CHECKED', 'RESULT', 'ROUND TRIP', 'CLOCK', 'SAID'], (check) => [
        check.checkedAt,
        check.ok ? 'ok' : printable(check.errorKind),
        check.roundTripMs === null ? '-' : `${check.roundTripMs} ms`,
        check.clockSkewMs === null ? '-' : `${check.clockSkewMs} ms`,
        printable(check.ok ? check.server : check.errorMessage),
      ]);
    });

  common(endpoints.command('pause'))
    .description('hold all work for an endpoint, until it is resumed or that time has come')
    .argument('<name>')
    .requiredOption('--reason <text>')
    .option('--until <time>', 'a duration such as 2h, or a time with its zone', parseUntil)
    .action(async (name: string, options: CommonOptions & { reason: string; until?: string }) => {
      const { reason, until } = options;
      await decide(context, options, 'pauseEndpoint', { name, reason, ...(until !== undefined && { until }) });
    });

  common(endpoints.command('resume'))
    .description('let work for an endpoint go on, after a pause or after failures')
    .argument('<name>')
    .option('--reason <text>')
    .action(async (name: string, options: CommonOptions & { reason?: string }) => {
      const { reason } = options;
      await decide(context, options, 'resumeEndpoint', { name, ...(reason !== undefined && { reason }) });
    });

  common(endpoints.command('accept-host-key'))
    .description('trust the new host key of a server, when the server shows that one now')
    .argument('<name>')
    .requiredOption('--fingerprint <fingerprint>', 'SHA256:..., as the owner of the server told you')
    .requiredOption('--reason <text>')
    .action(async (name: string, options: CommonOptions & { fingerprint: string; reason: string }) => {
      const { fingerprint, reason } = options;
      const output = outputOf(context, options);
      const { acceptHostKey } = await clientOf(context, options).request<{ acceptHostKey: EndpointAnswer }>(
        `mutation Accept($input: AcceptHostKeyInput!) { acceptHostKey(input: $input) { ${errorFields}
          ... on AcceptHostKeyPayload { endpoint { ${endpointFields} } } } }`,
        { input: { name, fingerprint, reason } },
      );
      const { endpoint } = payloadOf(acceptHostKey);
      if (output.json) output.object({ endpoint });
      else {
        output.line(`${name} trusts ${fingerprint}, version ${endpoint.version}`);
        output.line(
          'Put it under hostKeys in the file of the endpoint: applying the old file would bring the old key back.',
        );
      }
    });

  common(endpoints.command('sweep'))
    .description('remove unfinished writes of Waybill from a folder')
    .argument('<name>')
    .option('--path <folder>', 'the folder, without those below it', '/')
    .option('--older-than <duration>', 'longer than the longest copy takes', defaultSweepAge)
    .action(async (name: string, options: CommonOptions & { path: string; olderThan: string }) => {
      const { path, olderThan } = options;
      const output = outputOf(context, options);
      type Answer = { __typename: string; folder: string; removed: number } | TypedError;
      const { sweepEndpoint } = await clientOf(context, options).request<{ sweepEndpoint: Answer }>(
        `mutation Sweep($input: SweepEndpointInput!) { sweepEndpoint(input: $input) { ${errorFields} ... on SweepEndpointPayload { folder removed } } }`,
        { input: { name, path, olderThan } },
      );
      const { removed } = payloadOf(sweepEndpoint);
      if (output.json) output.object({ endpoint: name, path, removed });
      else output.line(`${removed} unfinished ${removed === 1 ? 'write' : 'writes'} removed from ${path}`);
    });
}

type EndpointAnswer = { __typename: string; endpoint: EndpointView } | TypedError;
type DecideAnswer = { __typename: string; endpoint: EndpointView; note: string | null } | TypedError;

async function decide(
  context: CommandContext,
  options: CommonOptions,
  mutation: 'pauseEndpoint' | 'resumeEndpoint',
  input: Record<string, unknown>,
): Promise<void> {
  const type = mutation === 'pauseEndpoint' ? 'PauseEndpointInput' : 'ResumeEndpointInput';
  const answer = await clientOf(context, options).request<Record<typeof mutation, DecideAnswer>>(
    `mutation Decide($input: ${type}!) { ${mutation}(input: $input) { ${errorFields} ... on DecideEndpointPayload { note endpoint { ${endpointFields} } } } }`,
    { input },
  );
  const { endpoint, note } = payloadOf(answer[mutation]);
  show(context, options, endpoint);
  if (note !== null) outputOf(context, options).note(note);
}

function show(context: CommandContext, options: CommonOptions, endpoint: EndpointView): void {
  const output = outputOf(context, options);
  if (output.json) {
    output.object({ endpoint });
    return;
  }
  output.line(`${endpoint.name}  ${endpoint.connector}, version ${endpoint.version}: ${standingOf(endpoint).sentence}`);
  const { concurrency, bandwidth } = endpoint.limits;
  const limits = [
    ...(concurrency === undefined ? [] : [`${concurrency} files at a time`]),
    ...(bandwidth === undefined ? [] : [`${bandwidth} a second`]),
  ];
  if (limits.length > 0) output.line(`    at most ${limits.join(', ')}`);
  if (endpoint.heldRuns > 0)
    output.line(
      `    held: ${endpoint.heldDeliveries} files of ${endpoint.heldRuns} runs; waybill deliveries --state held`,
    );
  if (endpoint.check !== null) showCheck(output, endpoint.name, endpoint.check);
}

function parseUntil(text: string): string {
  const durationMs = parseDurationMs(text);
  const timeMs = durationMs === undefined ? parseInstantMs(text) : Date.now() + durationMs;
  if (timeMs === undefined)
    throw new InvalidArgumentError('a duration is 30m, 2h ...; a time is 2026-11-22T18:00:00+01:00');
  return new Date(timeMs).toISOString();
}

function common(command: Command): Command {
  return command
    .option('--state <folder>', 'state folder of a running `waybill dev`')
    .option('--json', 'one JSON object on stdout');
}

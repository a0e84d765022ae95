import { randomUUID } from 'node:crypto';
import { WaybillError } from '../../schema/errors.ts';
import type { InputDeclaration, Json, RunStatus, TransferCounts } from '../../schema/plan.ts';
import { type ApiClient, errorFields, payloadOf, type TypedError } from '../client.ts';

/** A run as the command line shows it. */
export interface RunView {
  id: string;
  pipeline: string;
  status: RunStatus;
  version: { hash: string } | null;
  startedAt: string | null;
  endedAt: string | null;
  createdAt: string;
  outputs: Json;
  error: {
    kind: string;
    message: string;
    advice: string;
    step: string | null;
    endpoint: string | null;
    path: string | null;
  } | null;
  counts: TransferCounts;
  progress: {
    filesPlanned: number;
    filesDone: number;
    bytesPlanned: number;
    bytesDone: number;
    filesFailed: number;
    filesSkipped: number;
    retries: number;
  };
  pausedAt: string | null;
  pausedBy: { name: string } | null;
  pauseReason: string | null;
  waitingFor: string | null;
  cancelRequestedAt: string | null;
  workflowId: string;
  temporalUrl: string | null;
}

export const runFields = `id pipeline status version { hash } startedAt endedAt createdAt outputs
  error { kind message advice step endpoint path } counts { files bytes skipped failed }
  progress { filesPlanned filesDone bytesPlanned bytesDone filesFailed filesSkipped retries }
  pausedAt pausedBy { name } pauseReason waitingFor cancelRequestedAt workflowId temporalUrl`;

type RunAnswer = ({ __typename: string } & { run: RunView }) | TypedError;

/**
 * Starts a run of the live version, or of the one whose hash begins so. Inputs come as texts and take the type that the
 * pipeline declares. Throws what the server refuses.
 */
export async function startRun(
  client: ApiClient,
  pipeline: string,
  given: Readonly<Record<string, string>>,
  {
    idempotencyKey = randomUUID(),
    version,
  }: { idempotencyKey?: string | undefined; version?: string | undefined } = {},
): Promise<RunView> {
  const inputs = Object.keys(given).length === 0 ? {} : typedInputs(await declaredInputs(client, pipeline), given);
  const { startRun: answer } = await client.request<{ startRun: RunAnswer }>(
    `mutation Start($input: StartRunInput!) { startRun(input: $input) { ${errorFields} ... on StartRunPayload { run { ${runFields} } } } }`,
    { input: { pipeline, inputs, idempotencyKey, ...(version !== undefined && { version }) } },
  );
  return payloadOf(answer).run;
}

/** The run of that id, or of that workflow in Temporal, whose id has slashes. Throws not-found. */
export async function readRun(client: ApiClient, id: string): Promise<RunView> {
  const { run } = await client.request<{ run: RunView | null }>(
    `query Run($id: ID, $workflowId: String) { run(id: $id, workflowId: $workflowId) { ${runFields} } }`,
    id.includes('/') ? { workflowId: id } : { id },
  );
  if (run === null) throw new WaybillError('not-found', `there is no run ${id}`);
  return run;
}

/** Asks a run to stop; `note` says what keeps it from ending within seconds. Throws what the server refuses. */
export async function cancelRun(
  client: ApiClient,
  id: string,
  reason: string | undefined,
): Promise<{ run: RunView; note: string | null }> {
  type CancelAnswer = { __typename: string; run: RunView; note: string | null } | TypedError;
  const { cancelRun: answer } = await client.request<{ cancelRun: CancelAnswer }>(
    `mutation Cancel($input: CancelRunInput!) { cancelRun(input: $input) { ${errorFields} ... on CancelRunPayload { note run { ${runFields} } } } }`,
    { input: { id, ...(reason === undefined ? {} : { reason }) } },
  );
  const { run, note } = payloadOf(answer);
  return { run, note };
}

/** Holds a run, or lets it go on; `note` says what keeps that from taking effect within seconds. Throws what the server refuses. */
export async function decideRun(
  client: ApiClient,
  decision: 'pauseRun' | 'resumeRun',
  id: string,
  reason: string | undefined,
): Promise<{ run: RunView; note: string | null }> {
  type DecideAnswer = { __typename: string; run: RunView; note: string | null } | TypedError;
  const answer = await client.request<Record<typeof decision, DecideAnswer>>(
    `mutation Decide($input: DecideRunInput!) { ${decision}(input: $input) { ${errorFields} ... on DecideRunPayload { note run { ${runFields} } } } }`,
    { input: { id, ...(reason === undefined ? {} : { reason }) } },
  );
  const { run, note } = payloadOf(answer[decision]);
  return { run, note };
}

/** A new run of the same version with the same inputs; with `failedOnly`, of the failed deliveries alone. */
export async function retryRun(client: ApiClient, id: string, failedOnly: boolean): Promise<RunView> {
  const { retryRun: answer } = await client.request<{ retryRun: RunAnswer }>(
    `mutation Retry($input: RetryRunInput!) { retryRun(input: $input) { ${errorFields} ... on StartRunPayload { run { ${runFields} } } } }`,
    { input: { id, failedOnly, idempotencyKey: randomUUID() } },
  );
  return payloadOf(answer).run;
}

/** A run that sends one delivered file once more. Throws what the server refuses. */
export async function resendDelivery(client: ApiClient, id: string, reason: string): Promise<RunView> {
  const { resendDelivery: answer } = await client.request<{ resendDelivery: RunAnswer }>(
    `mutation Resend($input: ResendDeliveryInput!) { resendDelivery(input: $input) { ${errorFields} ... on StartRunPayload { run { ${runFields} } } } }`,
    { input: { id, reason, idempotencyKey: randomUUID() } },
  );
  return payloadOf(answer).run;
}

export function hasEnded(status: RunStatus): boolean {
  return status !== 'starting' && status !== 'running';
}

/** What keeps a run from going on, in words, or null. */
export function holdOf({ pausedAt, pausedBy, pauseReason, waitingFor }: RunView): string | null {
  if (pausedAt === null) return waitingFor === null ? null : `waits for ${waitingFor}`;
  const why = pauseReason === null ? '' : `: ${pauseReason}`;
  return `paused by ${pausedBy?.name ?? 'somebody'} since ${pausedAt}${why}`;
}

/** The answer of `run --wait --json`, `watch --json` and `runs show --json`. */
export function runReport(run: RunView) {
  const { id, pipeline, status, startedAt, endedAt, outputs, error, waitingFor, workflowId, temporalUrl } = run;
  const { pausedAt: at, pausedBy, pauseReason: reason } = run;
  const { files, bytes, skipped, failed } = run.counts;
  return {
    run: {
      ...{ id, pipeline, version: run.version?.hash.slice(0, 12) ?? null, status, startedAt, endedAt, outputs, error },
      ...{
        paused: at === null ? null : { at, by: pausedBy?.name ?? null, reason },
        waitingFor,
        workflowId,
        temporalUrl,
      },
    },
    transfers: { files, bytes, skipped, failed },
  };
}

async function declaredInputs(client: ApiClient, pipeline: string): Promise<Record<string, InputDeclaration>> {
  const answer = await client.request<{
    pipeline: { liveVersion: { plan: { inputs?: Record<string, InputDeclaration> } } } | null;
  }>('query Inputs($name: String!) { pipeline(name: $name) { liveVersion { plan } } }', { name: pipeline });
  return answer.pipeline?.liveVersion.plan.inputs ?? {};
}

function typedInputs(
  declared: Record<string, InputDeclaration>,
  given: Readonly<Record<string, string>>,
): Record<string, Json> {
  return Object.fromEntries(
    Object.entries(given).map(([name, text]) => [name, typedInput(text, declared[name]?.type)]),
  );
}

// A text that does not read as the declared type goes as it is: the server names the mistake.
function typedInput(text: string, type: InputDeclaration['type'] | undefined): Json {
  if (type === undefined || type === 'string') return text;
  try {
    return JSON.parse(text) as Json;
  } catch {
    return text;
  }
}

import { v7 } from 'uuid';
import { type NewEvent, recordEvents } from '../../audit/record.ts';
import { checkStart } from '../../identity/grants.ts';
import { holdSession } from '../../identity/sessions/verifySession.ts';
import { resolveInputs } from '../../language/inputs.ts';
import type { Sql, TenantTransaction } from '../../prisma/contract.ts';
import type { Prisma, Run } from '../../prisma/generated/client.ts';
import { type ErrorKind, WaybillError } from '../../schema/errors.ts';
import { publicId, resourceNamePattern } from '../../schema/names.ts';
import type { Failure } from '../../schema/plan.ts';
import { runWorkflowId } from '../../schema/workflow.ts';
import type { Operation } from '../context.ts';
import { actorOf } from './events.ts';
import { findVersion, type StartedVersion } from './findVersion.ts';
import { forget, once } from './idempotency.ts';
import { launch } from './launch.ts';
import { type GivenInputs, readInputs } from './runInputs.ts';

export interface StartRunInput {
  pipeline: string;
  /** The first digits of a version's hash; the live version when not given. */
  version?: string | null | undefined;
  inputs?: unknown;
  idempotencyKey: string;
}

/** Why a run is recorded and not started. */
type Refusal = { kind: ErrorKind; message: string; field: string | null };

/** What an idempotency key remembers: the run, and why it was refused. */
type StartAnswer = { runId: string; refused: Refusal | null };

/** What a new run is made of, besides what is the same for all. */
export interface NewRun {
  pipelineName: string;
  /** Or why there is none: the run is then recorded as refused. */
  version: StartedVersion | Refusal;
  trigger: 'manual' | 'retry' | 'resend';
  inputs: GivenInputs;
  retryOf?: string;
  retryDeliveries?: string[];
  /** What the new run's existence means beside itself; written with it. */
  event?: Pick<NewEvent, 'type' | 'deliveryId' | 'data'>;
}

/**
 * Starts the live version of a pipeline, or the one that is named. A run that is refused is recorded, and `context.runId`
 * of the error names it: not-found for an unknown pipeline, version or endpoint, invalid for inputs that it does not take,
 * forbidden when it may not act as it says. Throws conflict for a key of another request, unavailable when Temporal is away.
 */
export async function startRun(operation: Operation, input: StartRunInput): Promise<{ run: Run }> {
  checkName(input.pipeline);
  const { tenantId } = operation.caller;
  const use = { operation: 'startRun', key: input.idempotencyKey, request: input };
  return startOnce(operation, use, async ({ db }) => ({
    pipelineName: input.pipeline,
    version: await valueOrRefusal(() => findVersion(db, tenantId, input.pipeline, input.version ?? null)),
    trigger: 'manual',
    inputs: readInputs(input.inputs),
  }));
}

/** Records that somebody without the permission asked for a run. Throws forbidden, always. */
export async function refuseStart(operation: Operation, input: StartRunInput): Promise<never> {
  checkName(input.pipeline, 'forbidden');
  const message = 'the credential may not start runs';
  // A key of its own kind: with the permission the same request is another one.
  const use = { operation: 'startRun/forbidden', key: input.idempotencyKey, request: input };
  await startOnce(operation, use, async () => ({
    pipelineName: input.pipeline,
    version: { kind: 'forbidden', message, field: null },
    trigger: 'manual',
    // Who may not start a run stores nothing either.
    inputs: { values: {}, digest: null, problem: null },
  }));
  throw new WaybillError('forbidden', message);
}

/**
 * Records a run once for its idempotency key and hands it to Temporal. `prepare` runs in the transaction that records
 * it, and says what to run or throws why not. A key is free again when Temporal did not take its run, and when the run was
 * refused for what may change.
 */
export async function startOnce(
  operation: Operation,
  use: { operation: string; key: string; request: object },
  prepare: (transaction: TenantTransaction) => Promise<NewRun>,
): Promise<{ run: Run }> {
  const { store, caller } = operation;
  const { tenantId } = caller;
  const free = () => store.sql(tenantId, (sql) => forget(sql, tenantId, use.operation, use.key));
  const { run, version, refused } = await store.withTenant(tenantId, async (transaction) => {
    const { key: _, ...request } = { ...use.request, key: null, idempotencyKey: null };
    const answer = await once<StartAnswer>(transaction.sql, tenantId, { ...use, request }, async () =>
      record(operation, transaction, await prepare(transaction)),
    );
    const found = await transaction.db.run.findFirstOrThrow({
      where: { tenantId, id: answer.runId },
      include: { version: true },
    });
    const { version, ...run } = found;
    return { run, version: version?.hash ?? '', refused: answer.refused };
  });
  if (refused !== null) {
    const { kind, message, field } = refused;
    if (kind !== 'invalid' && use.operation !== 'startRun/forbidden') await free();
    throw new WaybillError(kind, message, { ...(field && { field }), runId: publicId('run', run.id) });
  }
  if (run.status !== 'starting') return { run };

  try {
    await launch(operation, run, version.slice(0, shortHashLength));
  } catch (error) {
    await free();
    throw error;
  }
  return { run };
}

/** Digits of a version's hash that people see. */
export const shortHashLength = 12;

async function record(operation: Operation, { db, sql }: TenantTransaction, start: NewRun): Promise<StartAnswer> {
  const { caller } = operation;
  const runId = v7();
  const { credential } = caller;
  // The end of a session stops its runs: one that came after it would go on.
  if (credential.kind === 'session') await holdSession(sql, caller.tenantId, credential.id);
  const checked = await checkNewRun(sql, caller.tenantId, start);
  const refused = 'refused' in checked ? checked.refused : null;
  const error: Failure | null =
    refused === null ? null : { kind: refused.kind, message: refused.message, step: null, endpoint: null, path: null };

  await db.run.create({
    data: {
      tenantId: caller.tenantId,
      id: runId,
      versionId: 'id' in start.version ? start.version.id : null,
      pipelineName: start.pipelineName,
      status: error === null ? 'starting' : 'refused',
      trigger: start.trigger,
      retryOf: start.retryOf ?? null,
      retryDeliveries: start.retryDeliveries ?? [],
      inputs: ('inputs' in checked ? checked.inputs : start.inputs.values) as Prisma.InputJsonObject,
      inputsDigest: start.inputs.digest,
      ...(error === null ? {} : { error: { ...error }, endedAt: new Date() }),
      workflowId: runWorkflowId(caller.tenantId, start.pipelineName, runId),
      createdBy: caller.principalId,
      startedBySession: credential.kind === 'session' ? credential.id : null,
    },
  });
  if (error !== null) {
    const data = { pipeline: start.pipelineName, error: { kind: error.kind, message: error.message } };
    await recordEvents(sql, caller.tenantId, [
      { type: 'run.refused', outcome: 'failure', actor: actorOf(caller), runId, data },
    ]);
  } else if (start.event !== undefined) {
    await recordEvents(sql, caller.tenantId, [{ ...start.event, actor: actorOf(caller), runId }]);
  }
  return { runId, refused };
}

/** The inputs with their defaults, or the first reason against the run. What may change until it begins is asked again then. */
async function checkNewRun(
  sql: Sql,
  tenantId: string,
  { version, inputs }: NewRun,
): Promise<{ inputs: Record<string, unknown> } | { refused: Refusal }> {
  if ('kind' in version) return { refused: version };
  const invalid = (message: string) => ({ refused: { kind: 'invalid' as const, message, field: 'inputs' } });
  if (inputs.problem !== null) return invalid(inputs.problem);
  const resolved = resolveInputs(version.plan.inputs, inputs.values);
  if (!resolved.ok) return invalid(resolved.problems.map(({ field, message }) => `${field}: ${message}`).join('; '));
  const { plan, publishedBy } = version;
  const use = { publisherId: publishedBy, ...plan.session, endpoints: Object.values(plan.endpoints) };
  const actor = await valueOrRefusal(() => checkStart(sql, tenantId, use));
  return 'kind' in actor ? { refused: { ...actor, field: null } } : { inputs: resolved.inputs };
}

const refusals: readonly ErrorKind[] = ['not-found', 'invalid', 'conflict', 'forbidden'];

async function valueOrRefusal<Value extends object>(find: () => Promise<Value>): Promise<Value | Refusal> {
  try {
    return await find();
  } catch (error) {
    if (!(error instanceof WaybillError) || !refusals.includes(error.kind)) throw error;
    const { field } = error.context;
    return { kind: error.kind, message: error.message, field: field ?? null };
  }
}

/** What no pipeline can be called is no run of one. */
function checkName(name: string, kind: ErrorKind = 'not-found'): void {
  if (new RegExp(resourceNamePattern).test(name)) return;
  const message = kind === 'forbidden' ? 'the credential may not start runs' : 'there is no pipeline of that name';
  throw new WaybillError(kind, message, { field: 'pipeline' });
}

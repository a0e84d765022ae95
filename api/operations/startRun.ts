import { v7 } from 'uuid';
import { type NewEvent, recordEvents } from '../../audit/record.ts';
import { resolveInputs } from '../../language/inputs.ts';
import type { TenantTransaction } from '../../prisma/contract.ts';
import type { Prisma, Run } from '../../prisma/generated/client.ts';
import { WaybillError } from '../../schema/errors.ts';
import type { Failure, Plan } from '../../schema/plan.ts';
import { runWorkflowId } from '../../schema/workflow.ts';
import type { Operation } from '../context.ts';
import { limits } from '../limits.ts';
import { actorOf } from './events.ts';
import { forget, once } from './idempotency.ts';
import { launch } from './launch.ts';

export interface StartRunInput {
  pipeline: string;
  inputs?: unknown;
  idempotencyKey: string;
}

/** What an idempotency key remembers: the run, and why it was refused. */
type StartAnswer = { runId: string; refused: string | null };

/** What a new run is made of, besides what is the same for all. */
export interface NewRun {
  pipelineName: string;
  version: { id: string; plan: Plan };
  trigger: 'manual' | 'retry';
  inputs: Record<string, unknown>;
  retryOf?: string;
  retryDeliveries?: string[];
  /** What the new run's existence means beside itself; written with it. */
  event?: Pick<NewEvent, 'type' | 'deliveryId' | 'data'>;
}

/**
 * Starts the live version of a pipeline. Throws not-found for an unknown pipeline, invalid for inputs that it does not
 * take (the run is then recorded as refused), conflict for a key of another request, unavailable when Temporal is away.
 */
export async function startRun(operation: Operation, input: StartRunInput): Promise<{ run: Run }> {
  const inputs = checkInputs(input.inputs);
  return startOnce(operation, { operation: 'startRun', key: input.idempotencyKey, request: input }, async ({ db }) => {
    const { tenantId } = operation.caller;
    const pipeline = await db.pipeline.findFirst({ where: { tenantId, name: input.pipeline, removedAt: null } });
    if (pipeline === null)
      throw new WaybillError('not-found', `there is no pipeline ${JSON.stringify(input.pipeline)}`, {
        field: 'pipeline',
      });
    const version = await db.pipelineVersion.findFirstOrThrow({
      where: { tenantId, pipelineId: pipeline.id, hash: pipeline.liveVersionHash },
    });
    const plan = version.plan as unknown as Plan;
    return { pipelineName: pipeline.name, version: { id: version.id, plan }, trigger: 'manual', inputs };
  });
}

/**
 * Records a run once for its idempotency key and hands it to Temporal. `prepare` runs in the transaction that records
 * it, and says what to run or throws why not. A key whose run Temporal did not take is free again.
 */
export async function startOnce(
  operation: Operation,
  use: { operation: string; key: string; request: object },
  prepare: (transaction: TenantTransaction) => Promise<NewRun>,
): Promise<{ run: Run }> {
  const { store, caller } = operation;
  const { tenantId } = caller;
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
  if (refused !== null) throw new WaybillError('invalid', refused, { field: 'inputs' });
  if (run.status !== 'starting') return { run };

  try {
    await launch(operation, run, version.slice(0, shortHashLength));
  } catch (error) {
    await store.sql(tenantId, (sql) => forget(sql, tenantId, use.operation, use.key));
    throw error;
  }
  return { run };
}

/** Digits of a version's hash that people see. */
export const shortHashLength = 12;

async function record(operation: Operation, { db, sql }: TenantTransaction, start: NewRun): Promise<StartAnswer> {
  const { caller } = operation;
  const runId = v7();
  const resolved = resolveInputs(start.version.plan.inputs, start.inputs);
  const refused = resolved.ok ? null : resolved.problems.map(({ field, message }) => `${field}: ${message}`).join('; ');
  const error: Failure | null =
    refused === null ? null : { kind: 'invalid', message: refused, step: null, endpoint: null, path: null };

  await db.run.create({
    data: {
      tenantId: caller.tenantId,
      id: runId,
      versionId: start.version.id,
      pipelineName: start.pipelineName,
      status: refused === null ? 'starting' : 'refused',
      trigger: start.trigger,
      retryOf: start.retryOf ?? null,
      retryDeliveries: start.retryDeliveries ?? [],
      inputs: (resolved.ok ? resolved.inputs : start.inputs) as Prisma.InputJsonObject,
      ...(error === null ? {} : { error: { ...error }, endedAt: new Date() }),
      workflowId: runWorkflowId(caller.tenantId, start.pipelineName, runId),
      createdBy: caller.principalId,
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

function checkInputs(inputs: unknown): Record<string, unknown> {
  if (inputs === undefined || inputs === null) return {};
  if (typeof inputs !== 'object' || Array.isArray(inputs))
    throw new WaybillError('invalid', 'inputs must be a map of names to values', { field: 'inputs' });
  const text = JSON.stringify(inputs);
  if (Buffer.byteLength(text) > limits.inputsBytes)
    throw new WaybillError('invalid', `inputs are larger than ${limits.inputsBytes} bytes`, { field: 'inputs' });
  // PostgreSQL keeps neither NUL nor lone surrogates.
  if (/\\u0000|\\ud[89a-f]/i.test(text))
    throw new WaybillError('invalid', 'inputs hold a NUL character or a lone surrogate', { field: 'inputs' });
  return inputs as Record<string, unknown>;
}

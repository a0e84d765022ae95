import type { Prisma, Run } from '../../prisma/generated/client.ts';
import { WaybillError } from '../../schema/errors.ts';
import { rowId } from '../../schema/names.ts';
import type { Plan } from '../../schema/plan.ts';
import type { Operation } from '../context.ts';
import { limits } from '../limits.ts';
import { boundedReason } from './reason.ts';
import { readInputs } from './runInputs.ts';
import { hasEnded } from './runState.ts';
import { type NewRun, startOnce } from './startRun.ts';

/**
 * Starts a run again: same version, same inputs; with `failedOnly`, only its failed deliveries. Throws not-found, and
 * conflict when it still goes on or nothing is to retry; otherwise as startRun.
 */
export async function retryRun(
  operation: Operation,
  input: { id: string; failedOnly?: boolean | null | undefined; idempotencyKey: string },
): Promise<{ run: Run }> {
  const { tenantId } = operation.caller;
  return startOnce(operation, { operation: 'retryRun', key: input.idempotencyKey, request: input }, async ({ db }) => {
    const retried = await endedRun(db, tenantId, rowId('run', input.id));
    if (!input.failedOnly) {
      if (retried.status === 'succeeded') throw nothingToRetry('the run succeeded; start a new one instead');
      if (retried.status === 'refused') throw nothingToRetry('the run was refused: its inputs would be refused again');
      return again(retried, {});
    }
    const failed = await db.delivery.findMany({
      where: { tenantId, runId: retried.id, state: 'failed' },
      orderBy: { id: 'asc' },
      take: limits.retryDeliveries + 1,
      select: { id: true },
    });
    if (failed.length === 0) throw nothingToRetry('no delivery of the run has failed');
    if (failed.length > limits.retryDeliveries)
      throw nothingToRetry(`more than ${limits.retryDeliveries} deliveries failed; retry the whole run`);
    return again(retried, { retryDeliveries: failed.map(({ id }) => id) });
  });
}

/** Starts the run of one failed delivery again, for that delivery alone; an event keeps the reason. Throws as retryRun does. */
export async function retryDelivery(
  operation: Operation,
  input: { id: string; reason?: string | null | undefined; idempotencyKey: string },
): Promise<{ run: Run }> {
  const { tenantId } = operation.caller;
  const use = { operation: 'retryDelivery', key: input.idempotencyKey, request: input };
  return startOnce(operation, use, async ({ db }) => {
    const id = rowId('delivery', input.id);
    const delivery = id === undefined ? null : await db.delivery.findFirst({ where: { tenantId, id } });
    if (delivery === null) throw new WaybillError('not-found', 'there is no such delivery', { field: 'id' });
    const retried = await endedRun(db, tenantId, delivery.runId);
    if (delivery.state !== 'failed') throw nothingToRetry(`the delivery is ${delivery.state}, not failed`);
    const claim = await db.deliveryClaim.findFirst({
      where: { tenantId, deliveryKey: delivery.deliveryKey, deliveredAt: { not: null } },
    });
    if (claim !== null) throw nothingToRetry('the file has been delivered since');
    const told = {
      deliveryId: delivery.id,
      data: { pipeline: retried.pipelineName, reason: boundedReason(input.reason) },
    };
    return again(retried, { retryDeliveries: [delivery.id], event: { type: 'delivery.retried', ...told } });
  });
}

type RunWithVersion = Run & { version: { id: string; plan: Prisma.JsonValue; publishedBy: string } | null };

async function endedRun(
  db: Prisma.TransactionClient,
  tenantId: string,
  id: string | undefined,
): Promise<RunWithVersion> {
  const run = id === undefined ? null : await db.run.findFirst({ where: { tenantId, id }, include: { version: true } });
  if (run === null) throw new WaybillError('not-found', 'there is no such run', { field: 'id' });
  if (!hasEnded(run.status)) throw new WaybillError('conflict', `the run is ${run.status}`, { field: 'id' });
  return run;
}

function again(retried: RunWithVersion, only: Pick<NewRun, 'retryDeliveries' | 'event'>): NewRun {
  return runOnceMore(retried, { trigger: 'retry', ...only });
}

/** A run of the same version with the same inputs. Throws conflict for one that had no version. */
export function runOnceMore(
  former: RunWithVersion,
  more: Pick<NewRun, 'trigger' | 'retryDeliveries' | 'event'>,
): NewRun {
  if (former.version === null) throw nothingToRetry('the run has no version');
  return {
    pipelineName: former.pipelineName,
    version: { ...former.version, plan: former.version.plan as unknown as Plan },
    inputs: readInputs(former.inputs),
    retryOf: former.id,
    ...more,
  };
}

function nothingToRetry(why: string): WaybillError {
  return new WaybillError('conflict', why, { code: 'NOTHING_TO_RETRY', field: 'id' });
}

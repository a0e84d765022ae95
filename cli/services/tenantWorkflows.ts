import { setTimeout as delay } from 'node:timers/promises';
import { Client, Connection, isGrpcServiceError, WorkflowNotFoundError } from '@temporalio/client';
import { WaybillError } from '../../schema/errors.ts';

const connectTimeoutMs = 5_000;
const pageSize = 500;
/** Requests to Temporal at a time. */
const together = 20;
const pollMs = 200;
/** Temporal removes in the background, and half a minute later what had ended just before. It is given up when for so long none has gone. */
const stallMs = 180_000;
const notFound = 5;

/** What Temporal holds of tenants: all their workflows and schedules have ids that begin with the tenant's. */
export interface TenantWorkflows {
  /** Asks workflows to end; those that are gone need not be asked. */
  cancel(workflowIds: readonly string[]): Promise<void>;
  /** Executions that have not ended, and all that are there, ended ones too. */
  count(tenantId: string): Promise<{ open: number; all: number }>;
  /** Has what goes on ended, without its `finally`, and all executions and schedules removed, with their histories. */
  remove(tenantId: string): Promise<RemovedWork>;
  /** Waits until none is there. Throws timeout when Temporal does not get on with it. */
  untilNone(tenantId: string): Promise<void>;
  close(): Promise<void>;
}

export interface RemovedWork {
  workflows: number;
  schedules: number;
}

/** Throws unavailable when no Temporal answers there. */
export async function connectTenantWorkflows(address: string, namespace: string): Promise<TenantWorkflows> {
  const connection = await Connection.connect({ address, connectTimeout: connectTimeoutMs }).catch((cause) => {
    throw new WaybillError('unavailable', `no Temporal answers at ${address} (TEMPORAL_ADDRESS)`, { cause });
  });
  const client = new Client({ connection, namespace });
  return {
    cancel: (workflowIds) =>
      ofMany(workflowIds, async (workflowId) => {
        await client.workflow.getHandle(workflowId).cancel().catch(ignoreGone);
      }),
    count: async (tenantId) => ({
      open: (await client.workflow.count(`${ofTenant(tenantId)} and ExecutionStatus = 'Running'`)).count,
      all: (await client.workflow.count(ofTenant(tenantId))).count,
    }),
    remove: async (tenantId) => {
      // First, so that none starts another workflow.
      const schedules = await removeSchedules(client, tenantId);
      return { workflows: await removeExecutions(client, tenantId), schedules };
    },
    untilNone: (tenantId) => untilNone(client, tenantId),
    close: () => connection.close(),
  };
}

function ofTenant(tenantId: string): string {
  return `WorkflowId STARTS_WITH '${tenantId}/'`;
}

async function removeExecutions(
  { workflowService, options: { namespace } }: Client,
  tenantId: string,
): Promise<number> {
  let removed = 0;
  let nextPageToken: Uint8Array | undefined;
  do {
    // The plain call: the SDK's own list would open the memos, for which there is no key here.
    const page = await workflowService.listWorkflowExecutions({
      namespace,
      query: ofTenant(tenantId),
      pageSize,
      nextPageToken: nextPageToken ?? null,
    });
    await ofMany(page.executions ?? [], async ({ execution }) => {
      await workflowService
        .deleteWorkflowExecution({ namespace, workflowExecution: execution ?? null })
        .then(() => removed++)
        .catch(ignoreGone);
    });
    nextPageToken = page.nextPageToken?.length ? page.nextPageToken : undefined;
  } while (nextPageToken !== undefined);
  return removed;
}

async function removeSchedules(client: Client, tenantId: string): Promise<number> {
  let removed = 0;
  for await (const { scheduleId } of client.schedule.list({ pageSize })) {
    if (!scheduleId.startsWith(`${tenantId}/`)) continue;
    await client.schedule.getHandle(scheduleId).delete();
    removed++;
  }
  return removed;
}

async function untilNone(client: Client, tenantId: string): Promise<void> {
  let [fewest, since] = [Number.POSITIVE_INFINITY, Date.now()];
  for (;;) {
    const { count } = await client.workflow.count(ofTenant(tenantId));
    if (count === 0) return;
    if (count < fewest) [fewest, since] = [count, Date.now()];
    if (Date.now() - since > stallMs)
      throw new WaybillError('timeout', `Temporal does not remove ${count} workflows of the tenant; do it again later`);
    await delay(pollMs);
  }
}

async function ofMany<Item>(items: readonly Item[], work: (item: Item) => Promise<void>): Promise<void> {
  const queue = items.values();
  const lane = async (): Promise<void> => {
    for (const item of queue) await work(item);
  };
  await Promise.all(Array.from({ length: together }, lane));
}

function ignoreGone(error: unknown): void {
  if (error instanceof WorkflowNotFoundError) return;
  if (isGrpcServiceError(error) && error.code === notFound) return;
  throw error;
}

import { type NewEvent, recordEvents } from '../../../audit/record.ts';
import type { CheckedDocument } from '../../../language/check.ts';
import type { TenantTransaction } from '../../../prisma/contract.ts';
import type { Prisma } from '../../../prisma/generated/client.ts';
import { eventLikePattern } from '../../../schema/events.ts';
import type { Operation } from '../../context.ts';
import { actorOf } from '../events.ts';
import { forgetFailures } from '../forgetFailures.ts';
import { deleteEndpoint } from '../removeEndpoint.ts';
import { storeSecret } from '../secrets.ts';
import type { PlannedChange } from './changes.ts';
import type { CurrentConfiguration } from './current.ts';

/**
 * Writes planned changes, their events and their secrets in the caller's transaction. Gives the workflows that wait for an
 * endpoint that is another one now, to be told when the transaction has ended. Throws conflict for an endpoint that is used.
 */
export async function writeChanges(
  operation: Operation,
  transaction: TenantTransaction,
  planned: readonly PlannedChange[],
  current: CurrentConfiguration,
): Promise<string[]> {
  const events: NewEvent[] = [];
  const waiting: string[] = [];
  for (const change of planned) {
    if (change.change === 'unchanged') continue;
    const { document } = change;
    if (change.change === 'removed') events.push(...(await remove(operation, transaction, change)));
    else if (document?.kind === 'pipeline') events.push(await publish(operation, transaction, document, current));
    else if (document) events.push(...(await writeDocument(operation, transaction, change, document, current)));
    if (document?.kind !== 'endpoint') continue;
    const { name } = document;
    const before = current.endpoints.get(name);
    if (before !== undefined)
      waiting.push(...(await forgetFailures(operation, transaction.sql, { id: before.id, name })));
  }
  await recordEvents(transaction.sql, operation.caller.tenantId, events);
  return waiting;
}

async function publish(
  { caller }: Operation,
  { db }: TenantTransaction,
  document: Extract<CheckedDocument, { kind: 'pipeline' }>,
  current: CurrentConfiguration,
): Promise<NewEvent> {
  const { tenantId } = caller;
  const { name, hash, source } = document;
  const live = { liveVersionHash: hash, updatedAt: new Date(), removedAt: null };
  const before = current.pipelines.get(name);
  const { id: pipelineId } =
    before === undefined
      ? await db.pipeline.create({ data: { tenantId, name, ...live } })
      : await db.pipeline.update({ where: { tenantId_id: { tenantId, id: before.id } }, data: live });
  await db.pipelineVersion.upsert({
    where: { tenantId_pipelineId_hash: { tenantId, pipelineId, hash } },
    create: {
      tenantId,
      pipelineId,
      hash,
      source,
      plan: document.plan as unknown as Prisma.InputJsonObject,
      publishedBy: caller.principalId,
    },
    // A version is immutable: publishing it again makes it live again.
    update: {},
  });
  return { type: 'pipeline.published', actor: actorOf(caller), data: { pipeline: name, version: hash } };
}

async function writeDocument(
  operation: Operation,
  transaction: TenantTransaction,
  change: PlannedChange,
  document: Exclude<CheckedDocument, { kind: 'pipeline' }>,
  current: CurrentConfiguration,
): Promise<NewEvent[]> {
  const { caller } = operation;
  const events = await writeSecrets(operation, transaction, change);
  if (document.kind === 'endpoint') await writeEndpoint(operation, transaction, change, document, current);
  else await writeWebhook(operation, transaction, change, document, current);
  const data = { [document.kind]: document.name, version: Number(change.version) };
  return [...events, { type: `${document.kind}.${change.change}`, actor: actorOf(caller), data }];
}

async function writeEndpoint(
  { caller: { tenantId } }: Operation,
  { db }: TenantTransaction,
  change: PlannedChange,
  document: Extract<CheckedDocument, { kind: 'endpoint' }>,
  current: CurrentConfiguration,
): Promise<void> {
  const row = {
    connector: document.connector,
    config: document.config as Prisma.InputJsonObject,
    limits: document.limits as Prisma.InputJsonObject,
    secretRefs: change.secrets!.references,
    contentHash: change.contentHash!,
    updatedAt: new Date(),
  };
  const before = current.endpoints.get(document.name);
  if (before === undefined) await db.connectorEndpoint.create({ data: { tenantId, name: document.name, ...row } });
  else
    await db.connectorEndpoint.update({
      where: { tenantId_id: { tenantId, id: before.id } },
      data: { ...row, version: { increment: 1 } },
    });
}

async function writeWebhook(
  { caller: { tenantId } }: Operation,
  { db }: TenantTransaction,
  change: PlannedChange,
  document: Extract<CheckedDocument, { kind: 'webhook' }>,
  current: CurrentConfiguration,
): Promise<void> {
  const row = {
    url: document.url,
    events: document.events,
    eventPatterns: document.events.map(eventLikePattern),
    secretRef: change.secrets!.references.signing ?? '',
    contentHash: change.contentHash!,
    updatedAt: new Date(),
    disabledAt: null,
  };
  const before = current.webhooks.get(document.name);
  if (before === undefined) await db.webhook.create({ data: { tenantId, name: document.name, ...row } });
  else
    await db.webhook.update({
      where: { tenantId_id: { tenantId, id: before.id } },
      data: { ...row, version: { increment: 1 } },
    });
}

/** Stores what was sent, and removes what the document no longer names. */
async function writeSecrets(
  operation: Operation,
  transaction: TenantTransaction,
  { kind, name, secrets }: PlannedChange,
): Promise<NewEvent[]> {
  const { caller } = operation;
  const events: NewEvent[] = [];
  for (const [stored, value] of secrets!.values) {
    const isNew = await storeSecret(operation, transaction, stored, value);
    if (isNew) events.push({ type: 'secret.set', actor: actorOf(caller), data: { name: stored } });
  }
  const used = Object.values(secrets!.references);
  const unused = { tenantId: caller.tenantId, name: { startsWith: `${kind}/${name}/`, notIn: used } };
  const { count } = await transaction.db.secret.deleteMany({ where: unused });
  if (count > 0)
    events.push({ type: 'secret.removed', actor: actorOf(caller), data: { [kind]: name, secrets: count } });
  return events;
}

async function remove(
  operation: Operation,
  transaction: TenantTransaction,
  { kind, name }: PlannedChange,
): Promise<NewEvent[]> {
  const { caller } = operation;
  const { tenantId } = caller;
  const { db } = transaction;
  if (kind === 'endpoint') {
    await deleteEndpoint(operation, transaction, name);
    return [];
  }
  if (kind === 'pipeline') {
    await db.pipeline.updateMany({ where: { tenantId, name, removedAt: null }, data: { removedAt: new Date() } });
    return [{ type: 'pipeline.removed', actor: actorOf(caller), data: { pipeline: name } }];
  }
  await db.webhook.deleteMany({ where: { tenantId, name } });
  await db.secret.deleteMany({ where: { tenantId, name: { startsWith: `webhook/${name}/` } } });
  return [{ type: 'webhook.removed', actor: actorOf(caller), data: { webhook: name } }];
}

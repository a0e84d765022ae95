import { applicationsOfRuns } from '../../identity/applications.ts';
import { checkUse } from '../../identity/grants.ts';
import { allow, type Permission } from '../../identity/permissions.ts';
import { check, type SourceFile } from '../../language/check.ts';
import type { Sql } from '../../prisma/contract.ts';
import type { Diagnostic } from '../../schema/diagnostics.ts';
import { WaybillError } from '../../schema/errors.ts';
import type { Operation } from '../context.ts';
import { limits } from '../limits.ts';
import { type Change, type PlannedChange, planChanges } from './configuration/changes.ts';
import { readCurrent } from './configuration/current.ts';
import { type DocumentSecret, resolveSecrets } from './configuration/documentSecrets.ts';
import { lockConfiguration } from './configuration/lock.ts';
import { writeChanges } from './configuration/write.ts';
import { releaseRuns } from './pauseEndpoint.ts';

export interface ApplyConfigurationInput {
  documents: SourceFile[];
  secrets?: DocumentSecret[] | null | undefined;
  prune?: boolean | null | undefined;
  dryRun?: boolean | null | undefined;
}

export interface Applied {
  changes: Change[];
  /** Warnings. */
  diagnostics: Diagnostic[];
  /** Files that are not ours. */
  ignored: Array<{ file: string; reason: string }>;
}

/**
 * Publishes all documents or none. Throws invalid with every diagnostic when one is wrong or lacks a secret, forbidden
 * for a kind that the credential may not change and for a pipeline that does what its publisher may not, conflict when an endpoint to be removed is used.
 */
export async function applyConfiguration(operation: Operation, input: ApplyConfigurationInput): Promise<Applied> {
  const { store, caller, registry, secretBox, hostSecrets } = operation;
  const { tenantId } = caller;
  checkSize(input.documents);
  const prune = input.prune ?? false;
  const { waiting, ...applied } = await store.withTenant(tenantId, async (transaction) => {
    await lockConfiguration(transaction.sql, tenantId);
    const current = await readCurrent(transaction, tenantId);
    // What is pruned is not there for the pipelines that stay.
    const knownEndpoints = new Set(prune ? [] : current.endpoints.keys());
    const knownApplications = await applicationsOfRuns(transaction.sql, tenantId);
    const known = { knownEndpoints, knownApplications };
    const checked = check(input.documents, { connectors: registry.definitions, ...known });
    if (!checked.ok) throw refused(checked.diagnostics);

    const stored = new Set(current.secrets.keys());
    const secrets = resolveSecrets(checked.documents, input.documents, input.secrets ?? [], stored, (reference) =>
      hostSecrets.check(caller.tenantName, reference),
    );
    if (secrets.diagnostics.length > 0) throw refused([...checked.diagnostics, ...secrets.diagnostics]);

    const digest = (value: string) => secretBox.digest(tenantId, value);
    const planned = await planChanges(checked.documents, secrets.resolved, current, { prune, digest });
    checkPermissions(operation, planned);
    await checkUses(operation, transaction.sql, planned);
    const waiting = input.dryRun ? [] : await writeChanges(operation, transaction, planned, current);

    const changes = planned.map(({ kind, name, change, version }) => ({ kind, name, change, version }));
    return { changes, diagnostics: checked.diagnostics, ignored: checked.ignored, waiting };
  });
  await releaseRuns(operation, waiting);
  return applied;
}

const permissionOfKind: Record<Change['kind'], Permission> = {
  pipeline: 'pipeline:publish',
  endpoint: 'endpoint:change',
  webhook: 'webhook:change',
};

function checkPermissions({ caller }: Operation, planned: readonly PlannedChange[]): void {
  for (const { kind, name, change } of planned) {
    if (change === 'unchanged' || allow(caller, permissionOfKind[kind])) continue;
    throw new WaybillError('forbidden', `the credential may not change ${kind} ${name}`, { field: 'documents' });
  }
}

/** A pipeline may do no more than who publishes it; asked again when a run of it begins. */
async function checkUses({ caller }: Operation, sql: Sql, planned: readonly PlannedChange[]): Promise<void> {
  for (const { name, change, document } of planned) {
    if (change === 'unchanged' || document?.kind !== 'pipeline') continue;
    const { session, endpoints } = document.plan;
    const use = { publisherId: caller.principalId, as: session.as, endpoints: Object.values(endpoints) };
    try {
      await checkUse(sql, caller.tenantId, use);
    } catch (error) {
      if (!(error instanceof WaybillError) || !['forbidden', 'not-found'].includes(error.kind)) throw error;
      const kind = error.kind === 'not-found' ? 'invalid' : error.kind;
      throw new WaybillError(kind, `pipeline ${name}: ${error.message}`, { field: 'documents', cause: error });
    }
  }
}

function checkSize(documents: readonly SourceFile[]): void {
  if (documents.length <= limits.documents) return;
  const message = `${documents.length} files; at most ${limits.documents} are published together`;
  throw new WaybillError('invalid', message, { field: 'documents' });
}

function refused(diagnostics: Diagnostic[]): WaybillError {
  const mistakes = diagnostics.filter(({ severity }) => severity === 'error').length;
  const count = mistakes === 1 ? '1 mistake' : `${mistakes} mistakes`;
  return new WaybillError('invalid', `${count}; nothing was published`, { field: 'documents', diagnostics });
}

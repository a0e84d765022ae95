import { createHash } from 'node:crypto';
import type { CheckedDocument } from '../../../language/check.ts';
import { shortHashLength } from '../startRun.ts';
import type { CurrentConfiguration } from './current.ts';
import type { ResolvedSecrets, SecretDocument } from './documentSecrets.ts';

export interface Change {
  kind: 'pipeline' | 'endpoint' | 'webhook';
  name: string;
  change: 'created' | 'changed' | 'unchanged' | 'removed';
  /** First digits of a pipeline's hash; the counter of an endpoint or a webhook. */
  version: string | null;
}

/** A change with what writing it takes; `removed` has no document. */
export interface PlannedChange extends Change {
  document?: CheckedDocument;
  secrets?: ResolvedSecrets;
  contentHash?: string;
}

/** Compares the documents, in their order, with what is configured; with `prune`, what they do not hold is removed. */
export async function planChanges(
  documents: readonly CheckedDocument[],
  secrets: ReadonlyMap<CheckedDocument, ResolvedSecrets>,
  current: CurrentConfiguration,
  options: { prune: boolean; digest: (value: string) => Promise<string> },
): Promise<PlannedChange[]> {
  const plan = async (document: CheckedDocument): Promise<PlannedChange> => {
    if (document.kind === 'pipeline') return planPipeline(document, current);
    const resolved = secrets.get(document)!;
    const contentHash = await contentHashOf(document, resolved, current, options.digest);
    const before = (document.kind === 'endpoint' ? current.endpoints : current.webhooks).get(document.name);
    const change = before === undefined ? 'created' : before.contentHash === contentHash ? 'unchanged' : 'changed';
    const version = (before?.version ?? 0) + (change === 'unchanged' ? 0 : 1);
    const { kind, name } = document;
    return { kind, name, change, version: String(version), document, secrets: resolved, contentHash };
  };
  const planned = await Promise.all(documents.map(plan));
  return options.prune ? [...planned, ...planRemovals(planned, current)] : planned;
}

function planPipeline(
  document: Extract<CheckedDocument, { kind: 'pipeline' }>,
  current: CurrentConfiguration,
): PlannedChange {
  const before = current.pipelines.get(document.name);
  const change = !before?.live ? 'created' : before.hash === document.hash ? 'unchanged' : 'changed';
  return { kind: 'pipeline', name: document.name, change, version: document.hash.slice(0, shortHashLength), document };
}

/** Pipelines first: an endpoint can go when no pipeline that stays uses it. */
function planRemovals(planned: readonly PlannedChange[], current: CurrentConfiguration): PlannedChange[] {
  const kept = new Set(planned.map(({ kind, name }) => `${kind} ${name}`));
  const live = [...current.pipelines].filter(([, { live }]) => live).map(([name]) => name);
  const all = [
    ...live.map((name) => ({ kind: 'pipeline' as const, name })),
    ...[...current.endpoints.keys()].map((name) => ({ kind: 'endpoint' as const, name })),
    ...[...current.webhooks.keys()].map((name) => ({ kind: 'webhook' as const, name })),
  ];
  const gone = all.filter(({ kind, name }) => !kept.has(`${kind} ${name}`));
  return gone.map(({ kind, name }) => ({ kind, name, change: 'removed', version: null }));
}

/** The document and the digests of its own secrets; a secret that it shares by name may change without it. */
async function contentHashOf(
  document: SecretDocument,
  { references, values }: ResolvedSecrets,
  current: CurrentConfiguration,
  digest: (value: string) => Promise<string>,
): Promise<string> {
  const sorted = Object.entries(references).sort(([left], [right]) => (left < right ? -1 : 1));
  const digestOf = async (name: string): Promise<string | null | undefined> => {
    const value = values.get(name);
    const isOwn = name.includes('/');
    return isOwn ? (value === undefined ? current.secrets.get(name) : digest(value)) : null;
  };
  const digests = await Promise.all(sorted.map(async ([secret, name]) => [secret, name, await digestOf(name)]));
  return createHash('sha256')
    .update(JSON.stringify([document.hash, digests]))
    .digest('hex');
}

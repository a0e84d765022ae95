import type { SourceDocument } from './source.ts';

const kinds = ['pipeline', 'endpoint', 'webhook'] as const;
export type DocumentKind = (typeof kinds)[number];

/** Whose document it is, or null: not ours. A misspelt first key is ours when `apiVersion` says so. */
export function documentKind(document: SourceDocument): DocumentKind | null {
  const { entries } = document.root;
  if (!entries) return null;
  const version = entries.get('apiVersion')?.value.value;
  const isOurs = typeof version === 'string' && version.startsWith('waybill/');
  const kind = kinds.find((candidate) => entries.has(candidate) && (isOurs || !entries.get(candidate)!.value.entries));
  if (kind) return kind;
  if (!isOurs) return null;
  if (entries.has('connector')) return 'endpoint';
  return entries.has('url') ? 'webhook' : 'pipeline';
}

/** Whether a text that may not even be YAML is meant to be ours. */
export function looksOwn(text: string): boolean {
  return /^\ufeff?(pipeline|endpoint|webhook)\s*:|^\ufeff?apiVersion\s*:\s*["']?waybill\//m.test(
    text.slice(0, maxLookedAt),
  );
}

const maxLookedAt = 2_000_000;

import { WaybillError } from '../schema/errors.ts';
import { baseName, joinPath, normalisePath, parentFolder } from '../schema/paths.ts';
import type { SinkToken, Version } from './contract.ts';

/** Files of ours that are not yet published begin like this; listings do not show them. */
export const temporaryPrefix = '.waybill-';
const temporarySuffix = '.part';

/** `.waybill-<deliveryId>.part` beside the target: the same filesystem, so that publishing is one rename. Throws invalid when the path cannot be a file's. */
export function temporaryPath(path: string, deliveryId: string): string {
  if (normalisePath(path).endsWith('/')) throw new WaybillError('invalid', `${path}: is a folder`, { field: 'path' });
  return joinPath(parentFolder(path), `${temporaryPrefix}${deliveryId}${temporarySuffix}`);
}

/** Whether a name is a temporary file of ours, and not merely something that begins alike. */
export function isTemporaryName(name: string): boolean {
  return name.startsWith(temporaryPrefix) && name.endsWith(temporarySuffix);
}

/** What a temporary file beside its target is taken up by. */
export function temporaryToken(path: string): SinkToken {
  return { kind: 'temporary', path };
}

/**
 * The temporary file that a token names, or undefined when that is none of ours, or not beside `target` (where one is
 * given): such a file is neither written nor removed.
 */
export function temporaryOf(token: SinkToken, target?: string): string | undefined {
  const { kind, path } = token;
  if (kind !== 'temporary' || typeof path !== 'string') return undefined;
  const normal = normalisePath(path);
  if (!isTemporaryName(baseName(normal))) return undefined;
  return target === undefined || parentFolder(normal) === parentFolder(normalisePath(target)) ? normal : undefined;
}

/** Whether one of the tokens names that temporary file, perhaps by another path: endpoints with different roots may share a folder. */
export function isKept(name: string, kept: readonly SinkToken[]): boolean {
  return kept.some((token) => baseName(temporaryOf(token) ?? '/') === name);
}

/** Bytes at the start of a file of `size` bytes that were acknowledged before the writer of its last bytes began them. */
export function certainBytes(size: number, windowBytes: number | undefined): number {
  return Math.max(0, size - (windowBytes ?? size));
}

/** Whether the file is still the version that was listed. An unknown time or etag on either side is no evidence of change. */
export function isSameVersion(actual: Version, expected: Version): boolean {
  if (actual.size !== expected.size) return false;
  if (actual.modified !== null && expected.modified !== null && actual.modified !== expected.modified) return false;
  return actual.etag === undefined || expected.etag === undefined || actual.etag === expected.etag;
}

/** ISO 8601 UTC with milliseconds. */
export function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}

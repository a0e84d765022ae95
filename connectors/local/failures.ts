import { type ErrorKind, WaybillError } from '../../schema/errors.ts';
import { outOfOpenFiles, raiseOpenFiles } from '../../schema/openFiles.ts';

/** What the operating system says, as a kind and in words; every other code is `internal`. */
const failures: Record<string, { kind: ErrorKind; says: string }> = {
  ENOENT: { kind: 'not-found', says: 'does not exist' },
  ENOTDIR: { kind: 'not-found', says: 'does not exist: a part of the path is not a folder' },
  EACCES: { kind: 'forbidden', says: 'permission denied' },
  EPERM: { kind: 'forbidden', says: 'operation not permitted' },
  EROFS: { kind: 'forbidden', says: 'the filesystem is read-only' },
  ELOOP: { kind: 'forbidden', says: 'too many symbolic links' },
  EEXIST: { kind: 'exists', says: 'exists' },
  ENOTEMPTY: { kind: 'exists', says: 'exists and is a folder' },
  EISDIR: { kind: 'invalid', says: 'is a folder' },
  ENAMETOOLONG: { kind: 'invalid', says: 'the name is too long for this filesystem' },
  EINVAL: { kind: 'invalid', says: 'this filesystem does not take that name or request' },
  EILSEQ: { kind: 'invalid', says: 'this filesystem does not take that name' },
  EXDEV: { kind: 'unsupported', says: 'is on another filesystem' },
  ENOSPC: { kind: 'disk-full', says: 'no space left on the disk' },
  EDQUOT: { kind: 'quota', says: 'the disk quota is used up' },
  EFBIG: { kind: 'quota', says: 'the file is larger than the filesystem or a limit allows' },
  EBUSY: { kind: 'unavailable', says: 'is busy' },
  ESTALE: { kind: 'unavailable', says: 'the network filesystem lost its place' },
  EIO: { kind: 'unavailable', says: 'the disk reported an error' },
  ETIMEDOUT: { kind: 'timeout', says: 'the network filesystem did not answer' },
};

export function localError(error: unknown, operation: string, path: string): WaybillError {
  if (error instanceof WaybillError) return error;
  const code = (error as NodeJS.ErrnoException).code ?? '';
  const noneLeft = outOfOpenFiles(code);
  const failure = noneLeft === undefined ? failures[code] : { kind: 'unavailable' as const, says: noneLeft };
  return new WaybillError(failure?.kind ?? 'internal', `${path}: ${failure?.says ?? `failed (${code || 'no code'})`}`, {
    operation,
    path,
    code,
    ...(noneLeft !== undefined && { advice: raiseOpenFiles }),
    cause: error,
  });
}

/** Runs `work`; what the operating system refuses becomes a WaybillError that names the path as the pipeline wrote it. */
export async function naming<Value>(operation: string, path: string, work: () => Promise<Value>): Promise<Value> {
  try {
    return await work();
  } catch (error) {
    throw localError(error, operation, path);
  }
}

export function hasCode(error: unknown, ...codes: string[]): boolean {
  return codes.includes((error as NodeJS.ErrnoException | undefined)?.code ?? '');
}

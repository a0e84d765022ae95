import type { Connector, Entry } from '../../connectors/contract.ts';
import { WaybillError } from '../../schema/errors.ts';
import { baseName, joinPath, maxNameBytes, parentFolder } from '../../schema/paths.ts';
import type { Buffers } from './buffers.ts';
import { limits } from './context.ts';
import { hashFile } from './hashFile.ts';
import type { ConflictRule } from './options.ts';

export interface Relocation {
  connector: Connector;
  buffers: Buffers;
  signal: AbortSignal;
  /** Called before a file gets a name that nobody could foresee (`a.v2.csv`), so that it can be written down first. */
  intend(path: string): Promise<void>;
}

/**
 * Moves within an endpoint under a conflict rule, and gives the path it went to: by a rename, or where there is none by a copy
 * in the server and a removal. Throws not-found when `from` is gone, exists, or unsupported when the connector can do neither.
 */
export async function relocate(from: string, to: string, rule: ConflictRule, work: Relocation): Promise<string> {
  const { connector, signal } = work;
  const move = mover(from, work);
  if (rule === 'overwrite') {
    await move(to, true);
    return to;
  }
  try {
    await move(to, false);
    return to;
  } catch (error) {
    if (!isKind(error, 'exists') || rule === 'fail') throw error;
    if (rule === 'version') return nextVersion(to, work, (name) => move(name, false));
    if (!(await areIdentical(from, to, work))) throw error;
    await connector.remove(from, signal);
    return to;
  }
}

function mover(from: string, work: Relocation): (target: string, replace: boolean) => Promise<void> {
  const { connector, signal } = work;
  const { rename, copy, capabilities } = connector;
  if (rename !== undefined) return (target, replace) => rename.call(connector, from, target, { replace }, signal);
  if (copy === undefined || !capabilities.serverCopy)
    throw new WaybillError('unsupported', 'this endpoint cannot move files', { operation: 'moving', path: from });
  return async (target, replace) => {
    try {
      await copy.call(connector, from, target, { replace }, signal);
    } catch (error) {
      // An earlier attempt may have died between its copy and the removal.
      if (!isKind(error, 'exists') || !(await areIdentical(from, target, work))) throw error;
    }
    await connector.remove(from, signal);
  };
}

/** Gives a file the next free `name.v2.ext`; `take` throws exists when somebody was faster. */
export async function nextVersion(
  path: string,
  { connector, signal, intend }: Pick<Relocation, 'connector' | 'signal' | 'intend'>,
  take: (path: string) => Promise<void>,
): Promise<string> {
  let version = 2;
  for (;;) {
    const free = await freeName(connector, path, version, signal);
    await intend(free.path);
    try {
      await take(free.path);
      return free.path;
    } catch (error) {
      if (!isKind(error, 'exists')) throw error;
      version = free.version + 1;
    }
  }
}

/** The path itself when nothing is there, else the first free version of it. */
export async function freePath(connector: Connector, path: string, signal: AbortSignal): Promise<string> {
  return (await freeName(connector, path, 1, signal)).path;
}

async function freeName(connector: Connector, path: string, from: number, signal: AbortSignal) {
  for (let version = from; version <= limits.versions; version++) {
    const candidate = version === 1 ? path : versionPath(path, version);
    if ((await statIfThere(connector, candidate, signal)) === null) return { path: candidate, version };
  }
  throw new WaybillError('exists', `${path} and its versions up to v${limits.versions} exist`, { path });
}

/** `/in/orders.v2.csv` for `/in/orders.csv`. The stem gives way when the name would get too long. */
export function versionPath(path: string, version: number): string {
  const name = baseName(path);
  const dot = name.lastIndexOf('.');
  const stem = dot > 0 ? name.slice(0, dot) : name;
  const suffix = `.v${version}${dot > 0 ? name.slice(dot) : ''}`;
  let kept = stem;
  while (Buffer.byteLength(kept + suffix) > maxNameBytes && kept !== '') kept = [...kept].slice(0, -1).join('');
  return joinPath(parentFolder(path), kept + suffix);
}

export async function statIfThere(connector: Connector, path: string, signal: AbortSignal): Promise<Entry | null> {
  try {
    return await connector.stat(path, signal);
  } catch (error) {
    if (isKind(error, 'not-found')) return null;
    throw error;
  }
}

/** Whether two files of one endpoint have the same bytes. */
async function areIdentical(one: string, other: string, { connector, buffers, signal }: Relocation): Promise<boolean> {
  const [first, second] = await Promise.all([connector.stat(one, signal), connector.stat(other, signal)]);
  if (second.kind !== 'file' || first.size !== second.size) return false;
  const reading = { buffers, signal, onBytes: () => undefined };
  return (await hashFile(connector, one, first, reading)) === (await hashFile(connector, other, second, reading));
}

export function isKind(error: unknown, kind: WaybillError['kind']): boolean {
  return error instanceof WaybillError && error.kind === kind;
}

import { recordEvents } from '../../audit/record.ts';
import { type Location, parseLocation } from '../../language/location.ts';
import { type FileOrder, fileOrders, fileSetTotals, findLedgerRun, readFileSet } from '../../prisma/ledger.ts';
import { WaybillError } from '../../schema/errors.ts';
import { normalisePath } from '../../schema/paths.ts';
import type { FileFact, FileSet, Json } from '../../schema/plan.ts';
import { nameError } from '../endpointErrors.ts';
import { useInTurn } from '../limits/inTurn.ts';
import { type ActivityContext, limits, type TransferDependencies } from './context.ts';
import { type EventWriter, eventsOf } from './events.ts';
import { withHeartbeat } from './heartbeat.ts';
import { listLocation } from './listing.ts';
import { choose, conflictRules, emptyRules, placeBelow } from './options.ts';
import { isKind, relocate, statIfThere } from './relocate.ts';
import { asFact, readSelection } from './selection.ts';
import { stageListing } from './stageListing.ts';

/** A step that works on files without moving bytes between endpoints. */
export interface FilesInput {
  tenantId: string;
  runId: string;
  /** Path of the step with its loop indexes. */
  stepKey: string;
  /** alias -> endpoint */
  endpoints: Record<string, string>;
  /** The filled `with` of the action. */
  with: Record<string, Json>;
  /** How many of the first rows the answer of `files.list` brings along. */
  head?: number;
}

/** The most rows of a set that history may hold. */
const headRowsAtMost = 100;

/**
 * `files.list`: writes the matching files into a set of the ledger, sorted when `sort` says so, and gives a reference to
 * it. Throws not-found when the place is absent, or nothing matches and `onEmpty` is `fail`; and as `listLocation` does.
 */
export async function listFiles(
  dependencies: TransferDependencies,
  input: FilesInput,
  context: ActivityContext,
): Promise<{ files: FileSet }> {
  const { tenantId, runId, with: given, head = 0 } = input;
  const from = parseLocation(given.from ?? null, input.endpoints);
  const order = readOrder(given);
  const selection = readSelection(given, from.endpoint, dependencies.clock.now());
  const onEmpty = choose(given, 'onEmpty', emptyRules);
  let listed = 0;
  const files = await withHeartbeat(
    context,
    () => ({ listed }),
    async () => {
      const setId = await dependencies.endpoints.use(tenantId, from.endpoint, (connector) =>
        stageListing(
          dependencies,
          { tenantId, runId, endpoint: from.endpoint, order },
          listLocation(connector, from, selection, context.signal),
          (count) => {
            listed = count;
          },
        ),
      );
      return describeSet(dependencies, { tenantId, setId, head: Math.min(head, headRowsAtMost) });
    },
  );
  if (files.count === 0 && onEmpty === 'fail')
    throw new WaybillError('not-found', `no file matches ${from.glob ?? from.path}`, { endpoint: from.endpoint });
  return { files };
}

function readOrder(given: Record<string, Json>): FileOrder | null {
  if (given.sort === undefined || given.sort === null) return null;
  return choose(given, 'sort', Object.keys(fileOrders) as FileOrder[]);
}

async function describeSet(
  { store }: TransferDependencies,
  { tenantId, setId, head }: { tenantId: string; setId: string; head: number },
): Promise<FileSet> {
  return store.sql(tenantId, async (sql) => {
    const set = { ref: setId, ...(await fileSetTotals(sql, tenantId, setId)) };
    if (head === 0) return set;
    const rows = await readFileSet(sql, tenantId, { setId, after: -1, limit: head });
    return { ...set, head: rows.map((row) => asFact(row, row.endpoint)) };
  });
}

/** Rows of a file set from position `after` on, in its order; none past its end. */
export async function fileSetPage(
  { store }: Pick<TransferDependencies, 'store'>,
  { tenantId, ref, after, limit }: { tenantId: string; ref: string; after: number; limit: number },
): Promise<FileFact[]> {
  const wanted = Math.min(Math.max(1, limit), limits.pageRows);
  const rows = await store.sql(tenantId, (sql) =>
    readFileSet(sql, tenantId, { setId: ref, after: after - 1, limit: wanted }),
  );
  return rows.map((row) => asFact(row, row.endpoint));
}

/**
 * `files.move`: moves one file within its endpoint and gives its new path. Throws not-found, exists, unsupported. A later
 * attempt that finds the source gone and a file at the new path takes that for its own earlier success.
 */
export async function moveFile(
  dependencies: TransferDependencies,
  input: FilesInput,
  context: ActivityContext,
): Promise<{ path: string }> {
  const { tenantId, with: given } = input;
  const from = oneFile(parseLocation(given.from ?? null, input.endpoints), 'from');
  if (typeof given.to !== 'string') throw new WaybillError('invalid', '`to` must be a path', { field: 'to' });
  const folder = from.path.slice(0, Math.max(1, from.path.lastIndexOf('/')));
  const to = placeBelow(normalisePath(given.to), from.path, folder);
  const onConflict = choose(given, 'onConflict', conflictRules);
  if (to === from.path)
    throw new WaybillError('invalid', '`to` is the file itself', { endpoint: from.endpoint, path: to });
  const { signal } = context;
  const at = { tenantId, endpoint: from.endpoint };
  const path = await useInTurn(dependencies.endpoints, at, signal, async (connector) => {
    try {
      return await relocate(from.path, to, onConflict, {
        connector,
        signal,
        buffers: dependencies.buffers,
        intend: async () => undefined,
      });
    } catch (error) {
      const mayBeOurs = isKind(error, 'not-found') && context.attempt > 1;
      if (mayBeOurs && (await statIfThere(connector, to, signal)) !== null) return to;
      throw nameError(error, from.endpoint, from.path);
    }
  });
  await recordOfStep(dependencies, input, (events) => [
    events.step('file.moved', input.stepKey, { endpoint: from.endpoint, from: from.path, to: path }),
  ]);
  return { path };
}

/** `files.delete`: deletes one file. Deleting what is gone succeeds, and the event says that it was. */
export async function deleteFile(
  dependencies: TransferDependencies,
  input: FilesInput,
  context: ActivityContext,
): Promise<{ path: string }> {
  const { tenantId, with: given } = input;
  const at = oneFile(parseLocation(given.at ?? null, input.endpoints), 'at');
  const existed = await dependencies.endpoints.use(tenantId, at.endpoint, async (connector) => {
    const found = await statIfThere(connector, at.path, context.signal);
    if (found !== null) await connector.remove(at.path, context.signal);
    return found !== null || context.attempt > 1;
  });
  await recordOfStep(dependencies, input, (events) => [
    events.step('file.deleted', input.stepKey, { endpoint: at.endpoint, path: at.path, existed }),
  ]);
  return { path: at.path };
}

/** The location of one file. Throws invalid for a folder and for a glob. */
export function oneFile(location: Location, field: string): { endpoint: string; path: string } {
  const { endpoint, path } = location;
  if (path === null || path.endsWith('/'))
    throw new WaybillError('invalid', `\`${field}\` names one file, not a folder or a glob`, { field });
  return { endpoint, path };
}

/** Writes events of a step, in the name of its run. */
export async function recordOfStep(
  { store }: Pick<TransferDependencies, 'store'>,
  { tenantId, runId }: Pick<FilesInput, 'tenantId' | 'runId'>,
  events: (writer: EventWriter) => Parameters<typeof recordEvents>[2],
): Promise<void> {
  await store.sql(tenantId, async (sql) => {
    const run = await findLedgerRun(sql, tenantId, runId);
    await recordEvents(sql, tenantId, events(eventsOf(run, runId, null)));
  });
}

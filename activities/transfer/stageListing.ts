import { randomUUID } from 'node:crypto';
import {
  appendToFileSet,
  arrangeFileSet,
  deleteFileSet,
  type FileOrder,
  type ListedFile,
} from '../../prisma/ledger.ts';
import { limits, type TransferDependencies } from './context.ts';

/**
 * Writes a listing into the ledger as it comes, so that memory does not grow with the folder, and gives the id of the set:
 * each path once, in the wanted order (null: as listed). A listing that fails leaves no rows.
 */
export async function stageListing(
  { store }: Pick<TransferDependencies, 'store'>,
  set: { tenantId: string; runId: string; endpoint: string; order: FileOrder | null },
  pages: AsyncIterable<ListedFile[]>,
  onFiles: (count: number) => void,
): Promise<string> {
  const { tenantId, runId, endpoint, order } = set;
  const setId = randomUUID();
  let firstOrdinal = 0;
  let waiting: ListedFile[] = [];

  async function flush(): Promise<void> {
    if (waiting.length === 0) return;
    const files = waiting;
    waiting = [];
    await store.sql(tenantId, (sql) => appendToFileSet(sql, tenantId, { setId, runId, endpoint, firstOrdinal, files }));
    firstOrdinal += files.length;
    onFiles(firstOrdinal);
  }

  try {
    for await (const page of pages) {
      for (const file of page) waiting.push(file);
      if (waiting.length >= limits.pageRows) await flush();
    }
    await flush();
    if (firstOrdinal === 0) return setId;
    const newSetId = randomUUID();
    return await store.sql(tenantId, (sql) => arrangeFileSet(sql, tenantId, { setId, newSetId, order }));
  } catch (error) {
    if (firstOrdinal > 0) await store.sql(tenantId, (sql) => deleteFileSet(sql, tenantId, setId));
    throw error;
  }
}

import { randomUUID } from 'node:crypto';
import { appendToFileSet, deleteFileSet, dropRepeatedPaths, type ListedFile } from '../../prisma/ledger.ts';
import { limits, type TransferDependencies } from './context.ts';

/**
 * Writes a listing into the ledger as it comes, so that memory does not grow with the folder, and gives the set's id.
 * A listing that fails leaves no rows.
 */
export async function stageListing(
  { store }: Pick<TransferDependencies, 'store'>,
  set: { tenantId: string; runId: string; endpoint: string },
  pages: AsyncIterable<ListedFile[]>,
  onFiles: (count: number) => void,
): Promise<string> {
  const { tenantId, runId, endpoint } = set;
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
      waiting.push(...page);
      if (waiting.length >= limits.pageRows) await flush();
    }
    await flush();
    if (firstOrdinal > 0) await store.sql(tenantId, (sql) => dropRepeatedPaths(sql, tenantId, setId));
    return setId;
  } catch (error) {
    if (firstOrdinal > 0) await store.sql(tenantId, (sql) => deleteFileSet(sql, tenantId, setId));
    throw error;
  }
}

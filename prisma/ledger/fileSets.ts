import type { Sql } from '../contract.ts';

/** A file as a listing saw it. `modified` is ISO 8601 UTC, or null when the server does not say. */
export interface ListedFile {
  path: string;
  /** bytes */
  size: number;
  modified: string | null;
  /** What the server names the version by, where it does. */
  etag?: string | undefined;
}

export interface FileSetRow extends ListedFile {
  ordinal: number;
  endpoint: string;
}

/** Appends one page of a listing; the ordinals go on from `firstOrdinal`. */
export async function appendToFileSet(
  sql: Sql,
  tenantId: string,
  page: { setId: string; runId: string; endpoint: string; firstOrdinal: number; files: readonly ListedFile[] },
): Promise<void> {
  await sql.query(
    `insert into file_set_item (tenant_id, set_id, ordinal, run_id, endpoint, path, size, modified, etag)
     select $1::uuid, $2::uuid, $5::int + (f.nth - 1)::int, $3::uuid, $4::text, f.path, f.size, f.modified, f.etag
       from unnest($6::text[], $7::bigint[], $8::text[], $9::text[]) with ordinality as f(path, size, modified, etag, nth)`,
    [
      tenantId,
      page.setId,
      page.runId,
      page.endpoint,
      page.firstOrdinal,
      page.files.map((file) => file.path),
      page.files.map((file) => file.size),
      page.files.map((file) => file.modified),
      page.files.map((file) => file.etag ?? null),
    ],
  );
}

const nameOfPath = `substring(path from '[^/]*$') collate "C"`;

/** How a listing can be ordered: by a field of its files, with `-` from the last to the first. Ties stand by path; files whose server tells no time come last. */
export const fileOrders = {
  path: `path collate "C"`,
  '-path': `path collate "C" desc`,
  name: `${nameOfPath}, path collate "C"`,
  '-name': `${nameOfPath} desc, path collate "C"`,
  size: `size, path collate "C"`,
  '-size': `size desc, path collate "C"`,
  // The times are ISO 8601 in UTC, which sort as text.
  modified: `modified collate "C" nulls last, path collate "C"`,
  '-modified': `modified collate "C" desc nulls last, path collate "C"`,
} as const;
export type FileOrder = keyof typeof fileOrders;

/**
 * Makes a written set ready to be read by position: each path once, in the wanted order (null: that of the listing),
 * ordinals from 0 without gaps. Gives the id under which it stands then: a set that is rearranged becomes `newSetId`.
 * The database does the sorting, so memory here does not grow with the set.
 */
export async function arrangeFileSet(
  sql: Sql,
  tenantId: string,
  set: { setId: string; newSetId: string; order: FileOrder | null },
): Promise<string> {
  if (set.order === null && !(await hasRepeatedPaths(sql, tenantId, set.setId))) return set.setId;
  // A folder that changes while it is read may give an entry twice: only the last one stays.
  await sql.query(
    `insert into file_set_item (tenant_id, set_id, ordinal, run_id, endpoint, path, size, modified, etag)
     select $1::uuid, $3::uuid, (row_number() over (order by ${set.order === null ? 'ordinal' : fileOrders[set.order]}) - 1)::int,
            run_id, endpoint, path, size, modified, etag
       from (select distinct on (path collate "C") ordinal, run_id, endpoint, path, size, modified, etag from file_set_item
              where tenant_id = $1::uuid and set_id = $2::uuid
              order by path collate "C", ordinal desc) as last_seen`,
    [tenantId, set.setId, set.newSetId],
  );
  await deleteFileSet(sql, tenantId, set.setId);
  return set.newSetId;
}

async function hasRepeatedPaths(sql: Sql, tenantId: string, setId: string): Promise<boolean> {
  const [row] = await sql.query<{ repeated: boolean }>(
    `select exists (select from file_set_item where tenant_id = $1::uuid and set_id = $2::uuid
                     group by path collate "C" having count(*) > 1) as repeated`,
    [tenantId, setId],
  );
  return row!.repeated;
}

export async function fileSetTotals(
  sql: Sql,
  tenantId: string,
  setId: string,
): Promise<{ count: number; bytes: number }> {
  const [totals] = await sql.query<{ count: string; bytes: string }>(
    `select count(*)::text as count, coalesce(sum(size), 0)::text as bytes from file_set_item
      where tenant_id = $1::uuid and set_id = $2::uuid`,
    [tenantId, setId],
  );
  return { count: Number(totals!.count), bytes: Number(totals!.bytes) };
}

/** Rows after that ordinal, in the order of the set; an unknown set has none. The same cost at any place in the set. */
export async function readFileSet(
  sql: Sql,
  tenantId: string,
  page: { setId: string; after: number; limit: number },
): Promise<FileSetRow[]> {
  const rows = await sql.query<{
    ordinal: number;
    endpoint: string;
    path: string;
    size: string;
    modified: string | null;
    etag: string | null;
  }>(
    `select ordinal, endpoint, path, size::text as size, modified, etag from file_set_item
      where tenant_id = $1::uuid and set_id = $2::uuid and ordinal > $3::int
      order by ordinal limit $4::int`,
    [tenantId, page.setId, page.after, page.limit],
  );
  return rows.map(({ etag, ...row }) => ({ ...row, size: Number(row.size), ...(etag !== null && { etag }) }));
}

export async function deleteFileSet(sql: Sql, tenantId: string, setId: string): Promise<void> {
  await sql.query(`delete from file_set_item where tenant_id = $1::uuid and set_id = $2::uuid`, [tenantId, setId]);
}

/** Deletes so many rows at most of what a run has listed; gives how many they were. */
export async function deleteSetsOfRun(sql: Sql, tenantId: string, runId: string, most: number): Promise<number> {
  const rows = await sql.query(
    `delete from file_set_item where ctid = any(array(
        select ctid from file_set_item where tenant_id = $1::uuid and run_id = $2::uuid limit $3::int))
      returning 1 as one`,
    [tenantId, runId, most],
  );
  return rows.length;
}

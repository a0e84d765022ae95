import type { Sql } from '../contract.ts';

/** A file as a listing saw it. `modified` is ISO 8601 UTC, or null when the server does not say. */
export interface ListedFile {
  path: string;
  /** bytes */
  size: number;
  modified: string | null;
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
    `insert into file_set_item (tenant_id, set_id, ordinal, run_id, endpoint, path, size, modified)
     select $1::uuid, $2::uuid, $5::int + (f.nth - 1)::int, $3::uuid, $4::text, f.path, f.size, f.modified
       from unnest($6::text[], $7::bigint[], $8::text[]) with ordinality as f(path, size, modified, nth)`,
    [
      tenantId,
      page.setId,
      page.runId,
      page.endpoint,
      page.firstOrdinal,
      page.files.map((file) => file.path),
      page.files.map((file) => file.size),
      page.files.map((file) => file.modified),
    ],
  );
}

/** A folder that changes while it is read may give an entry twice: only the last one stays. */
export async function dropRepeatedPaths(sql: Sql, tenantId: string, setId: string): Promise<void> {
  await sql.query(
    `delete from file_set_item where tenant_id = $1::uuid and set_id = $2::uuid and ordinal = any(array(
        select ordinal from (
          select ordinal, row_number() over (partition by path order by ordinal desc) as nth from file_set_item
           where tenant_id = $1::uuid and set_id = $2::uuid) as numbered
         where nth > 1))`,
    [tenantId, setId],
  );
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

/** Rows after that ordinal, in the order of the listing; an unknown set has none. */
export async function readFileSet(
  sql: Sql,
  tenantId: string,
  page: { setId: string; after: number; limit: number },
): Promise<FileSetRow[]> {
  return readRows(sql, [tenantId, page.setId, page.after, 0, page.limit]);
}

/** Rows after the first `skip`, in the order of the listing. */
export async function skipInFileSet(
  sql: Sql,
  tenantId: string,
  page: { setId: string; skip: number; limit: number },
): Promise<FileSetRow[]> {
  return readRows(sql, [tenantId, page.setId, -1, page.skip, page.limit]);
}

async function readRows(sql: Sql, values: readonly unknown[]): Promise<FileSetRow[]> {
  const rows = await sql.query<{
    ordinal: number;
    endpoint: string;
    path: string;
    size: string;
    modified: string | null;
  }>(
    `select ordinal, endpoint, path, size::text as size, modified from file_set_item
      where tenant_id = $1::uuid and set_id = $2::uuid and ordinal > $3::int
      order by ordinal offset $4::int limit $5::int`,
    values,
  );
  return rows.map((row) => ({ ...row, size: Number(row.size) }));
}

export async function deleteFileSet(sql: Sql, tenantId: string, setId: string): Promise<void> {
  await sql.query(`delete from file_set_item where tenant_id = $1::uuid and set_id = $2::uuid`, [tenantId, setId]);
}

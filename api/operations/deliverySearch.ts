import { globMatcher, globPrefix, normaliseGlob } from '../../language/location.ts';
import type { Sql, TenantTransaction } from '../../prisma/contract.ts';
import type { Delivery } from '../../prisma/generated/client.ts';
import { limits } from '../limits.ts';
import { type Page, type PageArguments, pageSize, readTimeCursor, type TimeKey, timeCursor } from '../pages.ts';

/** What else a delivery must be; null leaves it open. */
export interface SearchTerms {
  run: string | null;
  transfer: string | null;
  state: string | null;
  endpoint: string | null;
  since: Date | null;
  sha256: Uint8Array<ArrayBuffer> | null;
}

type Candidate = TimeKey & { sourcePath: string; targetPath: string };

/**
 * A page of the deliveries whose source or target path a glob matches, newest first. What a glob begins with is looked up
 * in an index; the rest is matched here, over `limits.globRows` rows at most: such a page may hold fewer than asked
 * for, or none, and still have a next one. Throws invalid for a glob or a page out of form.
 */
export async function searchDeliveries(
  { db, sql }: TenantTransaction,
  tenantId: string,
  glob: string,
  terms: SearchTerms,
  page: PageArguments,
): Promise<Page<Delivery>> {
  const pattern = absoluteGlob(glob);
  const look = (after: TimeKey | null) => lookAt(sql, tenantId, globPrefix(pattern), terms, after);
  const { found, ...end } = await collect(look, globMatcher([pattern]), page);
  const rows = await db.delivery.findMany({ where: { tenantId, id: { in: found.map(({ id }) => id) } } });
  const byId = new Map(rows.map((row) => [row.id, row]));
  return {
    rows: found.flatMap(({ id }) => byId.get(id) ?? []),
    hasPreviousPage: page.after != null,
    cursorOf: timeCursor,
    ...end,
  };
}

async function collect(
  look: (after: TimeKey | null) => Promise<Candidate[]>,
  matches: (path: string) => boolean,
  page: PageArguments,
): Promise<{ found: Candidate[]; hasNextPage: boolean; endCursor?: string }> {
  const first = pageSize(page.first);
  const found: Candidate[] = [];
  let last = page.after == null ? null : readTimeCursor(page.after);
  for (let seen = 0; seen < limits.globRows; ) {
    const batch = await look(last);
    for (const row of batch) {
      const isMatch = matches(row.sourcePath) || matches(row.targetPath);
      if (isMatch && found.length === first) return { found, hasNextPage: true };
      if (isMatch) found.push(row);
      last = row;
    }
    if (batch.length < limits.globBatch) return { found, hasNextPage: false };
    seen += batch.length;
  }
  // The search stopped here, perhaps after the last match: the next page goes on from the last row looked at.
  return { found, hasNextPage: true, endCursor: timeCursor(last!) };
}

/**
 * `^@` and not LIKE: only what is leakproof reaches an index under row-level security. What is null falls away before
 * the statement is planned, since it is planned anew for its values.
 */
export const candidateStatement = `
  select id, created_at as "createdAt", source_path as "sourcePath", target_path as "targetPath" from delivery
   where tenant_id = $1::uuid and (source_path ^@ $2::text or target_path ^@ $2::text)
     and ($3::uuid is null or run_id = $3::uuid)
     and ($4::uuid is null or transfer_id = $4::uuid)
     and ($5::text is null or state = $5::text)
     and ($6::text is null or source_endpoint = $6::text or target_endpoint = $6::text)
     and ($7::timestamptz is null or created_at >= $7::timestamptz)
     and ($8::bytea is null or sha256 = $8::bytea)
     and ($9::timestamptz is null or (created_at, id) < ($9::timestamptz, $10::uuid))
   order by created_at desc, id desc limit $11::int`;

function lookAt(
  sql: Sql,
  tenantId: string,
  prefix: string,
  { run, transfer, state, endpoint, since, sha256 }: SearchTerms,
  after: TimeKey | null,
): Promise<Candidate[]> {
  const position = [after?.createdAt ?? null, after?.id ?? null];
  const values = [tenantId, prefix, run, transfer, state, endpoint, since, sha256, ...position, limits.globBatch];
  return sql.query<Candidate & Record<string, unknown>>(candidateStatement, values);
}

/** `*.csv` is meant anywhere; what has a slash begins at an endpoint's root. */
function absoluteGlob(glob: string): string {
  return normaliseGlob(glob.includes('/') ? glob : `/**/${glob}`);
}

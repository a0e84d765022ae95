import { createHash } from 'node:crypto';
import type { Sql } from '../../prisma/contract.ts';

/** What a ticket says and until when it could be shown again. */
export interface Use {
  content: readonly string[];
  expiresAt: Date;
}

/**
 * Notes a use, and says whether it was the first: of two at the same instant, in whatever processes, one wins. Without a
 * use the same statement is sent and writes nothing, so that a refusal takes the time of a replay.
 */
export async function useOnce(sql: Sql, tenantId: string, use: Use | undefined): Promise<boolean> {
  const { content, expiresAt } = use ?? { content: [], expiresAt: new Date(0) };
  const rows = await sql.query(
    `insert into ticket_use (tenant_id, hash, expires_at)
     select $1::uuid, $2::bytea, $3::timestamptz where $4::boolean
     on conflict (tenant_id, hash) do nothing returning expires_at`,
    [tenantId, createHash('sha256').update(JSON.stringify(content)).digest(), expiresAt, use !== undefined],
  );
  return rows.length === 1;
}

import type { Sql } from '../../../prisma/contract.ts';

/** Makes changes of one tenant's configuration wait for each other until the transaction ends. */
export async function lockConfiguration(sql: Sql, tenantId: string): Promise<void> {
  await sql.query(`select pg_advisory_xact_lock(hashtextextended('configuration/' || $1::text, 0))`, [tenantId]);
}

import type { Sql } from '../../prisma/contract.ts';
import { totpSecretName } from '../passwords.ts';
import { sealedName } from '../tickets/integrationKeys.ts';

/** One sealed text: where it stands, the name it is bound to, and its bytes. */
export interface SealedText {
  row: string;
  name: string;
  sealed: Buffer;
}

/** A table of tenants in which the secret box's texts stand. A test finds one that is missing here. */
export interface SealedTable {
  table: string;
  column: string;
  /** Locks what it gives until the end of the transaction. */
  read(sql: Sql, tenantId: string): Promise<SealedText[]>;
  write(sql: Sql, tenantId: string, text: SealedText): Promise<void>;
}

export const sealedTables: readonly SealedTable[] = [
  {
    table: 'secret',
    column: 'ciphertext',
    read: (sql, tenantId) =>
      sql.query<SealedText & Record<string, unknown>>(
        `select id as row, name, ciphertext as sealed from secret where tenant_id = $1::uuid order by id for update`,
        [tenantId],
      ),
    // Not `updated_at`: the secret is the same, and its endpoints stay open.
    write: (sql, tenantId, { row, sealed }) =>
      change(sql, 'update secret set ciphertext = $3::bytea where tenant_id = $1::uuid and id = $2::uuid', [
        ...[tenantId, row, sealed],
      ]),
  },
  {
    table: 'integration_key',
    column: 'ciphertext',
    read: async (sql, tenantId) => {
      const keys = await sql.query<{ row: string; integrationId: string; kid: string; sealed: Buffer }>(
        `select id as row, integration_id as "integrationId", kid, ciphertext as sealed from integration_key
          where tenant_id = $1::uuid order by id for update`,
        [tenantId],
      );
      return keys.map(({ row, sealed, ...place }) => ({ row, sealed, name: sealedName(place) }));
    },
    write: (sql, tenantId, { row, sealed }) =>
      change(sql, 'update integration_key set ciphertext = $3::bytea where tenant_id = $1::uuid and id = $2::uuid', [
        ...[tenantId, row, sealed],
      ]),
  },
  {
    table: 'principal_password',
    column: 'totp',
    read: async (sql, tenantId) => {
      const passwords = await sql.query<{ row: string; sealed: Buffer }>(
        `select principal_id as row, totp as sealed from principal_password
          where tenant_id = $1::uuid and totp is not null order by principal_id for update`,
        [tenantId],
      );
      return passwords.map(({ row, sealed }) => ({ row, sealed, name: totpSecretName(row) }));
    },
    write: (sql, tenantId, { row, sealed }) =>
      change(
        sql,
        'update principal_password set totp = $3::bytea where tenant_id = $1::uuid and principal_id = $2::uuid',
        [...[tenantId, row, sealed]],
      ),
  },
];

async function change(sql: Sql, statement: string, values: readonly unknown[]): Promise<void> {
  await sql.query(statement, values);
}

import { type NewEvent, recordEvents } from '../../audit/record.ts';
import type { Sql, Store } from '../../prisma/contract.ts';

/** A key is to be rotated at this age. It goes on after it: a key that ends by itself would shut people out. */
export const keyLifeDays = 90;
/** Days before that at which the log, and every webhook that listens, is told. */
const reminderDays = [60, 30, 7, 1] as const;
const dayMs = 86_400_000;
const tenantsPerRound = 500;
const usesPerRound = 10_000;

/**
 * Tells of keys whose 90 days are nearly over, once for each of 60, 30, 7 and 1 days, and destroys those whose overlap is
 * over. Safe twice, and two at once write one event.
 */
export async function remindOfRotations(store: Store, now: Date = new Date()): Promise<void> {
  const tenants = await store.system((sql) =>
    sql.query<{ tenantId: string }>(
      `select distinct tenant_id as "tenantId" from integration_key
        where ends_at <= $1::timestamptz
           or (ends_at is null and exists (select from unnest($2::int[]) as days
                where created_at <= $1::timestamptz - make_interval(days => $3::int - days)
                  and (reminded_days is null or reminded_days > days)))
        limit $4::int`,
      [now, reminderDays, keyLifeDays, tenantsPerRound],
    ),
  );
  for (const { tenantId } of tenants) await store.sql(tenantId, (sql) => remindTenant(sql, tenantId, now));
}

/** Forgets tickets that were used and could not be shown again. */
export async function forgetUsedTickets(store: Store): Promise<void> {
  await store.system((sql) =>
    sql.query(
      `delete from ticket_use where (tenant_id, hash) in
         (select tenant_id, hash from ticket_use where expires_at < now() limit $1::int)`,
      [usesPerRound],
    ),
  );
}

/** When the key made at that time is to be rotated. */
export function rotationDueAt(createdAt: Date): Date {
  return new Date(createdAt.getTime() + keyLifeDays * dayMs);
}

interface AgingKey extends Record<string, unknown> {
  id: string;
  kid: string;
  createdAt: Date;
  remindedDays: number | null;
  integration: string;
  site: string;
  disabled: boolean;
}

async function remindTenant(sql: Sql, tenantId: string, now: Date): Promise<void> {
  await sql.query('delete from integration_key where tenant_id = $1::uuid and ends_at <= $2::timestamptz', [
    tenantId,
    now,
  ]);
  const keys = await sql.query<AgingKey>(
    `select k.id, k.kid, k.created_at as "createdAt", k.reminded_days as "remindedDays", i.name as integration, i.site,
            i.disabled_at is not null as disabled
       from integration_key k join integration i on i.tenant_id = k.tenant_id and i.id = k.integration_id
      where k.tenant_id = $1::uuid and k.ends_at is null
      order by k.id for update of k`,
    [tenantId],
  );
  const due = keys.flatMap((key) => {
    const days = reminderOf(key, now);
    return days === undefined ? [] : [{ key, days }];
  });
  await recordEvents(
    sql,
    tenantId,
    due.filter(({ key }) => !key.disabled).map(({ key, days }) => reminder(key, days, now)),
  );
  for (const { key, days } of due)
    await sql.query('update integration_key set reminded_days = $3::int where tenant_id = $1::uuid and id = $2::uuid', [
      tenantId,
      key.id,
      days,
    ]);
}

/** The last of the days that has come and was not told of. */
function reminderOf({ createdAt, remindedDays }: AgingKey, now: Date): number | undefined {
  const leftMs = rotationDueAt(createdAt).getTime() - now.getTime();
  const come = reminderDays.filter((days) => leftMs <= days * dayMs).at(-1);
  return come !== undefined && (remindedDays === null || come < remindedDays) ? come : undefined;
}

function reminder({ kid, createdAt, integration, site }: AgingKey, days: number, now: Date): NewEvent {
  const dueAt = rotationDueAt(createdAt);
  const daysLeft = Math.max(0, Math.ceil((dueAt.getTime() - now.getTime()) / dayMs));
  return {
    type: 'integration.rotation-due',
    actor: { principalId: null },
    data: { integration, site, kid, daysLeft, dueAt: dueAt.toISOString() },
    dedupeKey: `integration.rotation-due/${kid}/${days}`,
  };
}

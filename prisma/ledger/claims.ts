import type { DeliveryState } from '../../schema/plan.ts';
import type { Sql, Store } from '../contract.ts';

/** A delivery as the engine works on it. */
export interface DeliveryRow {
  id: string;
  /** hexadecimal */
  deliveryKey: string;
  state: DeliveryState;
  sourcePath: string;
  /** bytes */
  sourceSize: number;
  sourceModified: string | null;
  targetPath: string;
  /** hexadecimal */
  sha256: string | null;
  evidence: string | null;
  temporaryPath: string | null;
  disposedPath: string | null;
  attempt: number;
  errorKind: string | null;
}

interface StoredDelivery extends Record<string, unknown> {
  sourceSize: string;
}

const deliveryColumns = `d.id, encode(d.delivery_key, 'hex') as "deliveryKey", d.state, d.source_path as "sourcePath",
  d.source_size::text as "sourceSize", d.source_modified as "sourceModified", d.target_path as "targetPath",
  encode(d.sha256, 'hex') as sha256, d.evidence, d.temporary_path as "temporaryPath", d.disposed_path as "disposedPath",
  d.attempt, d.error_kind as "errorKind"`;

const asDelivery = (row: StoredDelivery) => ({ ...row, sourceSize: Number(row.sourceSize) }) as unknown as DeliveryRow;

/**
 * The deliveries of a batch that are not finished, those tried least first: a file that breaks its connection each time
 * does not hold up the others. Cancelled ones of a transfer that still runs were handed over and are unfinished too.
 */
export async function unfinishedDeliveries(
  sql: Sql,
  tenantId: string,
  transferId: string,
  batch: number,
): Promise<DeliveryRow[]> {
  const rows = await sql.query<StoredDelivery>(
    `select ${deliveryColumns} from delivery d
      where d.tenant_id = $1::uuid and d.transfer_id = $2::uuid and d.batch = $3::int
        and d.state in ('planned', 'copying', 'verified', 'published', 'cancelled')
      order by d.attempt, d.id`,
    [tenantId, transferId, batch],
  );
  return rows.map(asDelivery);
}

export type ClaimOutcome =
  /** Ours to copy; the row as it stands now. */
  | { claim: 'ours'; row: DeliveryRow }
  /** The same file version was delivered by that delivery. */
  | { claim: 'delivered'; by: string }
  /** Another delivery of the same file version is under way. */
  | { claim: 'busy' };

/**
 * Claims deliveries for one attempt (`owner`), in bulk. A claim is taken over when its lease has run out, and at once
 * from an earlier attempt of the same delivery, which then finds its lease gone before it publishes.
 * Claims are locked in the order of their keys, here and in `lockClaims`: that is why two workers cannot deadlock.
 */
export async function claimDeliveries(
  sql: Sql,
  tenantId: string,
  owner: string,
  leaseMs: number,
  deliveries: readonly { id: string; deliveryKey: string }[],
): Promise<ClaimOutcome[]> {
  const claimed = await sql.query<StoredDelivery>(
    `with claimed as (
       insert into delivery_claim as held (tenant_id, delivery_key, delivery_id, owner, lease_until)
       select $1::uuid, decode(w.key, 'hex'), w.id, $2::text, now() + make_interval(secs => $3::float8 / 1000)
         from unnest($4::text[], $5::uuid[]) as w(key, id) order by w.key
       on conflict (tenant_id, delivery_key) do update
          set delivery_id = excluded.delivery_id, owner = excluded.owner, lease_until = excluded.lease_until
        where held.delivered_at is null and (held.delivery_id = excluded.delivery_id or held.lease_until < now())
       returning held.delivery_id)
     update delivery d set state = case d.state when 'verified' then d.state else 'copying' end, attempt = d.attempt + 1,
            bytes_done = 0, error_kind = null, error_message = null, updated_at = now()
       from claimed
      where d.tenant_id = $1::uuid and d.id = claimed.delivery_id
        and d.state in ('planned', 'copying', 'verified', 'cancelled')
      returning ${deliveryColumns}`,
    [tenantId, owner, leaseMs, deliveries.map((row) => row.deliveryKey), deliveries.map((row) => row.id)],
  );
  const ours = new Map(claimed.map((row) => [row.id as string, asDelivery(row)]));
  const others = deliveries.filter((row) => !ours.has(row.id)).map((row) => row.deliveryKey);
  const deliveredBy = await deliveredKeys(sql, tenantId, others);
  return deliveries.map(({ id, deliveryKey }) => {
    const row = ours.get(id);
    if (row !== undefined) return { claim: 'ours', row };
    const by = deliveredBy.get(deliveryKey);
    return by === undefined ? { claim: 'busy' } : { claim: 'delivered', by };
  });
}

async function deliveredKeys(sql: Sql, tenantId: string, keys: readonly string[]): Promise<Map<string, string>> {
  if (keys.length === 0) return new Map();
  const rows = await sql.query<{ key: string; by: string }>(
    `select encode(c.delivery_key, 'hex') as key, c.delivery_id as by
       from delivery_claim c join unnest($2::text[]) as w(key) on c.delivery_key = decode(w.key, 'hex')
      where c.tenant_id = $1::uuid and c.delivery_key = any(array(select decode(k, 'hex') from unnest($2::text[]) as k))
        and c.delivered_at is not null`,
    [tenantId, keys],
  );
  return new Map(rows.map((row) => [row.key, row.by]));
}

/**
 * Locks claims in the order of their keys and gives the keys that this attempt still holds and has not delivered.
 * The keys are given as an array too: a join alone makes PostgreSQL read every claim of the tenant while its statistics
 * are young.
 */
export async function lockClaims(
  sql: Sql,
  tenantId: string,
  owner: string,
  deliveries: readonly { id: string; deliveryKey: string }[],
): Promise<Set<string>> {
  if (deliveries.length === 0) return new Set();
  const rows = await sql.query<{ key: string }>(
    `select encode(c.delivery_key, 'hex') as key
       from delivery_claim c join unnest($3::text[], $4::uuid[]) as w(key, id)
         on c.delivery_key = decode(w.key, 'hex') and c.delivery_id = w.id
      where c.tenant_id = $1::uuid and c.delivery_key = any(array(select decode(k, 'hex') from unnest($3::text[]) as k))
        and c.owner = $2::text and c.delivered_at is null
      order by c.delivery_key for update of c`,
    [tenantId, owner, deliveries.map((row) => row.deliveryKey), deliveries.map((row) => row.id)],
  );
  return new Set(rows.map((row) => row.key));
}

/**
 * Removes claims whose lease ran out more than `olderThanMs` ago, of every tenant, at most `rows` each; gives how many.
 * The system role finds the tenants, each tenant's own rows are then removed behind its wall. Only tidies up: a claim that
 * has run out is taken over all the same.
 */
export async function releaseExpiredClaims(
  store: Store,
  { olderThanMs, tenants, rows }: { olderThanMs: number; tenants: number; rows: number },
): Promise<number> {
  const found = await store.system((sql) =>
    sql.query<{ tenantId: string }>(
      `select distinct tenant_id as "tenantId" from delivery_claim
        where delivered_at is null and lease_until < now() - make_interval(secs => $1::float8 / 1000) limit $2::int`,
      [olderThanMs, tenants],
    ),
  );
  let released = 0;
  for (const { tenantId } of found)
    released += await store.sql(tenantId, async (sql) => {
      const gone = await sql.query(
        `delete from delivery_claim where tenant_id = $1::uuid and delivery_key in (
            select delivery_key from delivery_claim
             where tenant_id = $1::uuid and delivered_at is null
               and lease_until < now() - make_interval(secs => $2::float8 / 1000)
             order by delivery_key limit $3::int for update skip locked)
         returning 1 as one`,
        [tenantId, olderThanMs, rows],
      );
      return gone.length;
    });
  return released;
}

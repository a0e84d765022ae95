import type { SinkToken } from '../../connectors/contract.ts';
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
  sourceEtag: string | null;
  /** position among the targets of the transfer */
  target: number;
  targetPath: string;
  /** hexadecimal */
  sha256: string | null;
  evidence: string | null;
  temporaryPath: string | null;
  /** Of a write that was begun and not published: it can be taken up by it. */
  sinkToken: SinkToken | null;
  /** bytes */
  bytesDone: number;
  disposedPath: string | null;
  attempt: number;
  errorKind: string | null;
}

interface StoredDelivery extends Record<string, unknown> {
  sourceSize: string;
  bytesDone: string;
  /** The delivery that held the claim before: it died, and its lease ran out. */
  takenFrom: string | null;
}

const deliveryColumns = `d.id, encode(d.delivery_key, 'hex') as "deliveryKey", d.state, d.source_path as "sourcePath",
  d.source_size::text as "sourceSize", d.source_modified as "sourceModified", d.source_etag as "sourceEtag", d.target, d.target_path as "targetPath",
  encode(d.sha256, 'hex') as sha256, d.evidence, d.temporary_path as "temporaryPath", d.sink_token as "sinkToken",
  d.bytes_done::text as "bytesDone", d.disposed_path as "disposedPath",
  d.attempt, d.error_kind as "errorKind"`;

const asDelivery = ({ takenFrom: _, ...row }: StoredDelivery) =>
  ({ ...row, sourceSize: Number(row.sourceSize), bytesDone: Number(row.bytesDone) }) as unknown as DeliveryRow;

/**
 * The deliveries of a batch that are not finished, those tried least first: a file that breaks its connection each time
 * does not hold up the others. Cancelled ones of a transfer that still runs were handed over and are unfinished too.
 * `endedToo`: and the others, for what is done when all deliveries of a source file have ended.
 */
export async function unfinishedDeliveries(
  sql: Sql,
  tenantId: string,
  transferId: string,
  batch: number,
  { endedToo }: { endedToo: boolean },
): Promise<DeliveryRow[]> {
  const rows = await sql.query<StoredDelivery>(
    `select ${deliveryColumns} from delivery d
      where d.tenant_id = $1::uuid and d.transfer_id = $2::uuid and d.batch = $3::int
        and ($4::bool or d.state in ('planned', 'held', 'copying', 'verified', 'published', 'cancelled'))
      order by d.attempt, d.id`,
    [tenantId, transferId, batch, endedToo],
  );
  return rows.map(asDelivery);
}

export type ClaimOutcome =
  /** Ours to copy; the row as it stands now. `heirOf` is the dead delivery whose claim it was. */
  | { claim: 'ours'; row: DeliveryRow; heirOf: { id: string; attempt: number } | null }
  /** The same file version was delivered by that delivery. */
  | { claim: 'delivered'; by: string }
  /** Another delivery of the same file version is under way. */
  | { claim: 'busy' };

/**
 * Claims deliveries for one attempt (`owner`), in bulk. A claim is taken over when its lease has run out, and at once
 * from an earlier attempt of the same delivery, which then finds its lease gone before it publishes. With the claim of a
 * dead delivery comes what it had got done: its unfinished write, and whether it may already have published.
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
       returning held.delivery_id, nullif(old.delivery_id, held.delivery_id) as taken_from)
     update delivery d set state = case d.state when 'verified' then d.state else 'copying' end, attempt = d.attempt + 1,
            bytes_done = case when d.sink_token is null then 0 else d.bytes_done end, error_kind = null, error_message = null, error_endpoint = null, updated_at = now()
       from claimed
      where d.tenant_id = $1::uuid and d.id = claimed.delivery_id
        and d.state in ('planned', 'held', 'copying', 'verified', 'cancelled')
      returning ${deliveryColumns}, claimed.taken_from as "takenFrom"`,
    [tenantId, owner, leaseMs, deliveries.map((row) => row.deliveryKey), deliveries.map((row) => row.id)],
  );
  const ours = new Map(claimed.map((row) => [row.id as string, asDelivery(row)]));
  const takers = claimed.filter((row) => row.takenFrom !== null);
  const dead = takers.length === 0 ? new Map() : await inherit(sql, tenantId, takers, ours);
  const others = deliveries.filter((row) => !ours.has(row.id)).map((row) => row.deliveryKey);
  const deliveredBy = await deliveredKeys(sql, tenantId, others);
  return deliveries.map(({ id, deliveryKey }) => {
    const row = ours.get(id);
    if (row !== undefined) return { claim: 'ours', row, heirOf: dead.get(id) ?? null };
    const by = deliveredBy.get(deliveryKey);
    return by === undefined ? { claim: 'busy' } : { claim: 'delivered', by };
  });
}

/** Hands the progress of dead deliveries to those that took their claims, into `rows` too; gives who died for whom. */
async function inherit(
  sql: Sql,
  tenantId: string,
  takers: readonly StoredDelivery[],
  ours: Map<string, DeliveryRow>,
): Promise<Map<string, { id: string; attempt: number }>> {
  const dead = await sql.query<{ id: string; attempt: number }>(
    `select id, attempt from delivery where tenant_id = $1::uuid and id = any($2::uuid[])`,
    [tenantId, takers.map((row) => row.takenFrom)],
  );
  const attempts = new Map(dead.map(({ id, attempt }) => [id, attempt]));
  const rows = await sql.query<StoredDelivery>(
    `with dead as (
       select heir.id as heir_id, d.id, d.bytes_done, d.sink_token, d.sha256, d.evidence, d.temporary_path, d.target_path,
              d.sha256 is not null as verified
         from unnest($2::uuid[], $3::uuid[]) as w(id, dead_id)
         join delivery d on d.id = w.dead_id join delivery heir on heir.id = w.id
        where d.tenant_id = $1::uuid and heir.tenant_id = $1::uuid and d.id = any($3::uuid[]) and heir.id = any($2::uuid[])
          and d.published_at is null and (d.sha256 is not null or d.sink_token is not null)
          and d.source_endpoint = heir.source_endpoint and d.source_path = heir.source_path and d.source_size = heir.source_size
          and d.source_modified is not distinct from heir.source_modified
          and d.target_endpoint = heir.target_endpoint and (d.sha256 is not null or d.target_path = heir.target_path)
          for update of d),
     robbed as (
       update delivery d set sink_token = null, temporary_path = null from dead where d.tenant_id = $1::uuid and d.id = dead.id)
     update delivery d
        set sink_token = dead.sink_token, bytes_done = dead.bytes_done, sha256 = dead.sha256, evidence = dead.evidence,
            temporary_path = dead.temporary_path, target_path = dead.target_path,
            state = case when dead.verified then 'verified' else d.state end
       from dead
      where d.tenant_id = $1::uuid and d.id = dead.heir_id and d.id = any($2::uuid[])
      returning ${deliveryColumns}`,
    [tenantId, takers.map((row) => row.id), takers.map((row) => row.takenFrom)],
  );
  for (const row of rows) ours.set(row.id as string, asDelivery(row));
  return new Map(
    takers.map((row) => [row.id as string, { id: row.takenFrom!, attempt: attempts.get(row.takenFrom!) ?? 1 }]),
  );
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

import type { EndpointLimits } from '../schema/configuration.ts';
import type { Sql } from './contract.ts';

/** What a worker process wants of an endpoint, and what of its own lease it cannot give back yet. */
interface LeaseRequest {
  tenantId: string;
  endpointId: string;
  /** The process. */
  owner: string;
  /** Files at a time that it has work for. */
  wanted: number;
  /** Files that it has under way: those are never taken away. */
  inUse: number;
  /** Whether it moves bytes. */
  moves: boolean;
  leaseMs: number;
}

export interface Lease extends Record<string, unknown> {
  owner: string;
  wanted: number;
  slots: number;
  moves: boolean;
  bytesPerSecond: number;
}

/** What the endpoint bears, and all leases on it that have not run out. */
export interface LeaseTable {
  limits: EndpointLimits;
  leases: Lease[];
  nowMs: number;
}

/**
 * Renews the lease of one process: `share` decides what it gets from what the others hold, while nobody else can take
 * anything. Undefined when the endpoint is gone.
 */
export async function renewLease<Share extends { slots: number; bytesPerSecond: number }>(
  sql: Sql,
  request: LeaseRequest,
  share: (table: LeaseTable) => Share,
): Promise<Share | undefined> {
  const { tenantId, endpointId, owner } = request;
  await sql.query(`select pg_advisory_xact_lock(hashtextextended('lease/' || $1::text || '/' || $2::text, 0))`, [
    tenantId,
    endpointId,
  ]);
  const [endpoint] = await sql.query<{ limits: EndpointLimits; now: Date }>(
    'select limits, clock_timestamp() as now from connector_endpoint where tenant_id = $1::uuid and id = $2::uuid',
    [tenantId, endpointId],
  );
  if (endpoint === undefined) return undefined;
  // While the database was away nobody could renew: what had not run out before is good for one more term after its start.
  await sql.query(
    `delete from endpoint_lease where tenant_id = $1::uuid and endpoint_id = $2::uuid
        and greatest(lease_until, pg_postmaster_start_time() + make_interval(secs => $3::float8 / 1000)) < clock_timestamp()`,
    [tenantId, endpointId, request.leaseMs],
  );
  const leases = await sql.query<Omit<Lease, 'bytesPerSecond'> & { bytesPerSecond: string }>(
    `select owner, wanted, slots, moves, bytes_per_second as "bytesPerSecond" from endpoint_lease
      where tenant_id = $1::uuid and endpoint_id = $2::uuid order by owner`,
    [tenantId, endpointId],
  );
  const given = share({
    limits: endpoint.limits,
    leases: leases.map((lease) => ({ ...lease, bytesPerSecond: Number(lease.bytesPerSecond) })) as Lease[],
    nowMs: endpoint.now.getTime(),
  });
  await sql.query(
    `insert into endpoint_lease (tenant_id, endpoint_id, owner, wanted, slots, moves, bytes_per_second, lease_until)
     values ($1::uuid, $2::uuid, $3::uuid, $4::int, $5::int, $6::bool, $7::bigint,
             clock_timestamp() + make_interval(secs => $8::float8 / 1000))
     on conflict (tenant_id, endpoint_id, owner) do update
        set wanted = excluded.wanted, slots = excluded.slots, moves = excluded.moves,
            bytes_per_second = excluded.bytes_per_second, lease_until = excluded.lease_until`,
    [
      tenantId,
      endpointId,
      owner,
      request.wanted,
      given.slots,
      request.moves,
      Math.floor(given.bytesPerSecond),
      request.leaseMs,
    ],
  );
  return given;
}

/** Gives a lease back. */
export async function releaseLease(
  sql: Sql,
  { tenantId, endpointId, owner }: Pick<LeaseRequest, 'tenantId' | 'endpointId' | 'owner'>,
): Promise<void> {
  await sql.query(
    'delete from endpoint_lease where tenant_id = $1::uuid and endpoint_id = $2::uuid and owner = $3::uuid',
    [tenantId, endpointId, owner],
  );
}

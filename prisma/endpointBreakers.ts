import type { Sql } from './contract.ts';

/** The failures in a row of one endpoint, as they stand in the database. */
interface BreakerRow extends Record<string, unknown> {
  credential: string;
  failures: number;
  openings: number;
  openUntil: Date | null;
  now: Date;
}

/** The row, locked until the transaction ends, made when there is none. Undefined when the endpoint is gone. */
export async function lockBreaker(
  sql: Sql,
  tenantId: string,
  endpointId: string,
  credential: string,
): Promise<BreakerRow | undefined> {
  await sql.query(
    `insert into endpoint_breaker (tenant_id, endpoint_id, credential, error_kind, error_message)
     select tenant_id, id, $3::text, '', '' from connector_endpoint where tenant_id = $1::uuid and id = $2::uuid
     on conflict (tenant_id, endpoint_id) do nothing`,
    [tenantId, endpointId, credential],
  );
  const [row] = await sql.query<BreakerRow>(
    `select credential, failures, openings, open_until as "openUntil", clock_timestamp() as now
       from endpoint_breaker where tenant_id = $1::uuid and endpoint_id = $2::uuid for update`,
    [tenantId, endpointId],
  );
  return row;
}

export async function writeBreaker(
  sql: Sql,
  tenantId: string,
  endpointId: string,
  state: {
    credential: string;
    failures: number;
    openings: number;
    openUntil: Date | null;
    errorKind: string;
    errorMessage: string;
  },
): Promise<void> {
  await sql.query(
    `update endpoint_breaker set credential = $3::text, failures = $4::int, openings = $5::int, open_until = $6::timestamptz,
            trial_until = null, error_kind = $7::text, error_message = $8::text
      where tenant_id = $1::uuid and endpoint_id = $2::uuid`,
    [
      tenantId,
      endpointId,
      state.credential,
      state.failures,
      state.openings,
      state.openUntil,
      state.errorKind,
      state.errorMessage,
    ],
  );
}

/** Takes the one trial of a breaker whose time is over. False when somebody else has it, or it is open again. */
export async function takeTrial(sql: Sql, tenantId: string, endpointId: string, trialMs: number): Promise<boolean> {
  const taken = await sql.query(
    `update endpoint_breaker set trial_until = clock_timestamp() + make_interval(secs => $3::float8 / 1000)
      where tenant_id = $1::uuid and endpoint_id = $2::uuid and open_until <= clock_timestamp()
        and (trial_until is null or trial_until <= clock_timestamp())
      returning 1 as one`,
    [tenantId, endpointId, trialMs],
  );
  return taken.length > 0;
}

/** Forgets the failures; gives whether the breaker had opened. */
export async function clearBreaker(sql: Sql, tenantId: string, endpointId: string): Promise<boolean> {
  const rows = await sql.query<{ opened: boolean }>(
    `delete from endpoint_breaker where tenant_id = $1::uuid and endpoint_id = $2::uuid
      returning open_until is not null as opened`,
    [tenantId, endpointId],
  );
  return rows[0]?.opened ?? false;
}

/** Gives the trial back: it came to nothing. */
export async function releaseTrial(sql: Sql, tenantId: string, endpointId: string): Promise<void> {
  await sql.query(
    'update endpoint_breaker set trial_until = null where tenant_id = $1::uuid and endpoint_id = $2::uuid',
    [tenantId, endpointId],
  );
}

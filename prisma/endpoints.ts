import type { EndpointLimits } from '../schema/configuration.ts';
import type { Json } from '../schema/plan.ts';
import type { Sql } from './contract.ts';

/** What it takes to open an endpoint. */
export interface StoredEndpoint {
  id: string;
  connector: string;
  config: Json;
  limits: EndpointLimits;
  standing: EndpointStanding;
  /** Changes whenever the endpoint or one of its secrets does. */
  revision: string;
  /** Secret as the connector calls it -> the name it is stored under and its ciphertext, null when it is not stored. */
  secrets: Record<string, { name: string; ciphertext: Buffer | null }>;
}

/** The endpoint with its secrets, still sealed, in one statement; undefined when there is none of that name. */
export async function findEndpoint(sql: Sql, tenantId: string, name: string): Promise<StoredEndpoint | undefined> {
  const rows = await sql.query<
    StandingRow & {
      id: string;
      connector: string;
      config: Json;
      limits: EndpointLimits;
      version: number;
      secret: string | null;
      storedName: string | null;
      ciphertext: Buffer | null;
      changed: string | null;
    }
  >(
    `select e.id, e.connector, e.config, e.limits, e.version,
            r.key as secret, r.value as "storedName", s.ciphertext, s.updated_at::text as changed, ${standingColumns}
       from connector_endpoint e
       left join endpoint_breaker b on b.tenant_id = e.tenant_id and b.endpoint_id = e.id
       left join lateral jsonb_each_text(e.secret_refs) as r(key, value) on true
       left join secret s on s.tenant_id = e.tenant_id and s.name = r.value
      where e.tenant_id = $1::uuid and e.name = $2::text
      order by r.key`,
    [tenantId, name],
  );
  const [first] = rows;
  if (first === undefined) return undefined;
  const referenced = rows.filter((row) => row.secret !== null);
  return {
    id: first.id,
    connector: first.connector,
    config: first.config,
    limits: first.limits,
    standing: standingOf(first),
    revision: [first.id, first.version, ...referenced.map((row) => `${row.storedName}@${row.changed}`)].join(' '),
    secrets: Object.fromEntries(
      referenced.map((row) => [row.secret!, { name: row.storedName!, ciphertext: row.ciphertext }]),
    ),
  };
}

/** What keeps an endpoint from being used, or may soon. */
export interface EndpointStanding {
  /** It is paused; `untilMs` null: until it is resumed. */
  pause: { reason: string | null; untilMs: number | null } | null;
  /** Its failures in a row, of that credential; null: none. */
  breaker: BreakerStanding | null;
  /** The time of the database, by which all of these are meant. */
  nowMs: number;
}

export interface BreakerStanding {
  /** The revision of the endpoint that failed. */
  credential: string;
  failures: number;
  /** null: it has not opened yet. */
  openUntilMs: number | null;
  /** One use is trying since then, until then. */
  trialUntilMs: number | null;
  /** What failed last, in words. */
  message: string;
}

interface StandingRow extends Record<string, unknown> {
  now: Date;
  pausedAt: Date | null;
  pausedUntil: Date | null;
  pauseReason: string | null;
  credential: string | null;
  failures: number | null;
  openUntil: Date | null;
  trialUntil: Date | null;
  lastMessage: string | null;
}

const standingColumns = `clock_timestamp() as now, e.paused_at as "pausedAt", e.paused_until as "pausedUntil",
            e.pause_reason as "pauseReason", b.credential, b.failures, b.open_until as "openUntil",
            b.trial_until as "trialUntil", b.error_message as "lastMessage"`;

function standingOf(row: StandingRow): EndpointStanding {
  const nowMs = row.now.getTime();
  const untilMs = row.pausedUntil?.getTime() ?? null;
  const isPaused = row.pausedAt !== null && (untilMs === null || untilMs > nowMs);
  return {
    pause: isPaused ? { reason: row.pauseReason, untilMs } : null,
    breaker:
      row.credential === null
        ? null
        : {
            credential: row.credential,
            failures: row.failures!,
            openUntilMs: row.openUntil?.getTime() ?? null,
            trialUntilMs: row.trialUntil?.getTime() ?? null,
            message: row.lastMessage!,
          },
    nowMs,
  };
}

/** How the named endpoints stand, and what they bear now; those that are gone are left out. */
export async function endpointStandings(
  sql: Sql,
  tenantId: string,
  names: readonly string[],
): Promise<Array<{ name: string; limits: EndpointLimits; standing: EndpointStanding }>> {
  const rows = await sql.query<StandingRow & { name: string; limits: EndpointLimits }>(
    `select e.name, e.limits, ${standingColumns}
       from connector_endpoint e
       left join endpoint_breaker b on b.tenant_id = e.tenant_id and b.endpoint_id = e.id
      where e.tenant_id = $1::uuid and e.name = any($2::text[])`,
    [tenantId, names],
  );
  return rows.map((row) => ({ name: row.name, limits: row.limits, standing: standingOf(row) }));
}

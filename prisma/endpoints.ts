import type { Json } from '../schema/plan.ts';
import type { Sql } from './contract.ts';

/** What it takes to open an endpoint. */
export interface StoredEndpoint {
  connector: string;
  config: Json;
  /** `limits.concurrency`, or null. */
  concurrency: number | null;
  /** Changes whenever the endpoint or one of its secrets does. */
  revision: string;
  /** Secret as the connector calls it -> the name it is stored under and its ciphertext, null when it is not stored. */
  secrets: Record<string, { name: string; ciphertext: Buffer | null }>;
}

/** The endpoint with its secrets, still sealed, in one statement; undefined when there is none of that name. */
export async function findEndpoint(sql: Sql, tenantId: string, name: string): Promise<StoredEndpoint | undefined> {
  const rows = await sql.query<{
    id: string;
    connector: string;
    config: Json;
    concurrency: number | null;
    version: number;
    secret: string | null;
    storedName: string | null;
    ciphertext: Buffer | null;
    changed: string | null;
  }>(
    `select e.id, e.connector, e.config, (e.limits ->> 'concurrency')::int as concurrency, e.version,
            r.key as secret, r.value as "storedName", s.ciphertext, s.updated_at::text as changed
       from connector_endpoint e
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
    connector: first.connector,
    config: first.config,
    concurrency: first.concurrency,
    revision: [first.id, first.version, ...referenced.map((row) => `${row.storedName}@${row.changed}`)].join(' '),
    secrets: Object.fromEntries(
      referenced.map((row) => [row.secret!, { name: row.storedName!, ciphertext: row.ciphertext }]),
    ),
  };
}

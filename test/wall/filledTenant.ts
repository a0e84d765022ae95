import { expect } from 'vitest';
import { type IdKind, publicId } from '../../schema/names.ts';
import { post, type TestApi } from '../servers/api.ts';
import type { TestDatabase, TestTenant } from '../servers/database.ts';
import { writeHistory } from '../servers/history.ts';

/** A tenant that has a row in every table, and what somebody would have to know to ask for them. */
export interface FilledTenant {
  tenant: TestTenant;
  /** A public id of each kind. */
  ids: Record<IdKind, string>;
  pipeline: string;
  endpoint: string;
  secret: string;
  account: string;
  /** An owner. */
  userName: string;
  /** Of somebody else, as whom that owner may act. */
  userId: number;
  email: string;
  password: string;
  applicationId: number;
  application: string;
  apiKeyName: string;
  integration: string;
  integrationKey: { keyBase64: string; ivBase64: string };
  site: string;
  /** What a live session presents. */
  sessionId: string;
  /** Good tickets, one for each way in. */
  tickets: { openWithTicket: string; openWithTicketEx: string };
  workflowId: string;
  versionHash: string;
  idempotencyKey: string;
  sha256: string;
  event: string;
  /** Texts of the tenant, its ids among them, that nobody else may read anywhere. */
  canaries: string[];
}

/** By the word that stands in all that the tenant calls its own: numbers far from those of any other, which are given from 1 on. */
const numbers = {
  canary: { applicationId: 4_711, firstUserNumber: 7_000 },
  native: { applicationId: 5_811, firstUserNumber: 9_000 },
};

export async function fillTenant(
  api: TestApi,
  tenant: TestTenant,
  key: string,
  siteUrl: string,
  word: keyof typeof numbers = 'canary',
): Promise<FilledTenant> {
  const { tenantId } = tenant;
  const { applicationId, firstUserNumber } = numbers[word];
  const password = `correct horse ${word}`;
  const history = await writeHistory(api.database.store, tenant, { path: `/${word}/orders.csv` });
  const ask = async (query: string) => {
    const { body } = await api.graphql(key, query);
    expect(body.errors, query).toBeUndefined();
    for (const answer of Object.values(body.data as Record<string, { __typename?: string }>))
      expect(answer.__typename ?? '', JSON.stringify(answer)).not.toContain('Error');
    return body.data;
  };
  await api.database.asOwner('update principal set user_number = user_number + $2 where tenant_id = $1', [
    tenantId,
    firstUserNumber,
  ]);
  const made = await ask(`mutation {
    createUser(input: { userName: "${word}-user", password: "${password}", email: "${word}@acme.example", role: "owner" }) { __typename }
    somebody: createUser(input: { userName: "${word}-somebody", password: "${password}", role: "operator" }) {
      __typename ... on UserPayload { user { userId } } }
    createServiceAccount(input: { name: "${word}-robot" }) { __typename }
    grantAccount(input: { account: "${word}-robot", action: use, target: "acme-sftp" }) { __typename }
    registerApplication(input: { id: ${applicationId}, name: "${word}-app" }) { __typename }
    createApiKey(input: { name: "${word}-key" }) { __typename ... on CreateApiKeyPayload { apiKey { id } } }
    createIntegration(input: { name: "${word}-portal", site: "${word}.acme.example", legacy: true }) {
      __typename ... on IntegrationSecretPayload { keyBase64 ivBase64 integration { id } } } }`);
  const { keyBase64, ivBase64, integration } = made.createIntegration;
  const ticket = `createTicket(input: { integration: "${word}-portal", user: "ACME\\\\${word}-user", version: 2 })`;
  const tickets = await ask(`mutation {
    openWithTicket: ${ticket} { __typename ... on TicketPayload { ticket } }
    openWithTicketEx: ${ticket} { __typename ... on TicketPayload { ticket } } }`);
  const signIn = `mutation { openImmutable(userName: "${word}-user", password: "${password}", applicationId: ${applicationId}) {
    __typename ... on SessionData { sessionId } } }`;
  const { body: opened } = await post(siteUrl, null, JSON.stringify({ query: signIn }));
  const { sessionId } = opened.data.openImmutable;
  await fillTheRest(api.database, tenant, history, word);
  const [{ workflowId } = { workflowId: '' }] = await api.database.asOwner<{ workflowId: string }>(
    'select workflow_id as "workflowId" from run where tenant_id = $1',
    [tenantId],
  );
  return {
    tenant,
    ids: {
      ...{ run: history.run, transfer: history.transfer, delivery: history.delivery, pipeline: history.pipeline },
      ...{ pipelineVersion: history.version, endpoint: history.endpoint, webhook: history.webhook },
      ...{ webhookDelivery: history.webhookDelivery, auditEvent: history.auditEvent, secret: history.secret },
      ...{ apiKey: made.createApiKey.apiKey.id, principal: history.principal, integration: integration.id },
      session: publicId('session', await rowOf(api.database, 'session', "method = 'openImmutable'", tenantId)),
    },
    ...{ pipeline: 'orders', endpoint: 'acme-sftp', secret: 'shared-password', account: `${word}-robot` },
    ...{
      userName: `${word}-user`,
      userId: made.somebody.user.userId,
      email: `${word}@acme.example`,
      password,
      applicationId,
    },
    ...{ application: `${word}-app`, apiKeyName: `${word}-key`, integration: `${word}-portal` },
    integrationKey: { keyBase64, ivBase64 },
    site: `${word}.acme.example`,
    sessionId,
    tickets: {
      openWithTicket: tickets.openWithTicket.ticket,
      openWithTicketEx: tickets.openWithTicketEx.ticket,
    },
    workflowId,
    versionHash: 'ab'.repeat(32),
    idempotencyKey: `${word}-idempotency`,
    sha256: 'cd'.repeat(32),
    event: 'orders.received',
    canaries: [
      ...(await idsOf(api.database, tenantId)),
      ...['of one tenant', 'acme.example', 'partner.example/hook', 'no right to write', 'Orders in', word],
    ],
  };
}

/** What no verb of the API writes: what workers, the keeper of keys and an operator leave. */
async function fillTheRest(
  { asOwner }: TestDatabase,
  { tenantId }: TestTenant,
  history: Record<'run' | 'endpoint' | 'delivery', string>,
  word: string,
): Promise<void> {
  const [run, endpoint, delivery] = [history.run, history.endpoint, history.delivery].map(uuidOf);
  const rows: Array<[string, unknown[]]> = [
    [`tenant_host (tenant_id, host) values ($1, '${word}.example')`, []],
    [`tenant_key (tenant_id, version, wrapped, master_key_id) values ($1, 99, '\\x00', '${word}')`, []],
    [`ticket_use (tenant_id, hash, expires_at) values ($1, '\\x01', now() + interval '1 hour')`, []],
    [`endpoint_lease (tenant_id, endpoint_id, owner, lease_until) values ($1, $2, uuidv7(), now())`, [endpoint]],
    [
      `endpoint_breaker (tenant_id, endpoint_id, credential, error_kind, error_message) values ($1, $2, 'c', 'timeout', '${word}')`,
      [endpoint],
    ],
    [`endpoint_check (tenant_id, endpoint_id, ok, report) values ($1, $2, false, '{"server":"${word}"}')`, [endpoint]],
    [`run_hold (tenant_id, run_id, endpoint_id, reason) values ($1, $2, $3, '${word}')`, [run, endpoint]],
    [
      `step_write (tenant_id, run_id, step_key, endpoint_id, folder) values ($1, $2, '${word}', $3, '/${word}')`,
      [run, endpoint],
    ],
    [
      `file_set_item (tenant_id, set_id, ordinal, run_id, endpoint, path, size) values ($1, uuidv7(), 1, $2, 'acme-sftp', '/${word}', 1)`,
      [run],
    ],
    [
      `delivery_claim (tenant_id, delivery_key, delivery_id, owner, lease_until) values ($1, '\\x02', $2, '${word}', now())`,
      [delivery],
    ],
    [
      `idempotency_key (tenant_id, operation, key, request_hash, answer) values ($1, 'startRun', '${word}-idempotency', '\\x03', '{}')`,
      [],
    ],
  ];
  for (const [row, values] of rows) await asOwner(`insert into ${row}`, [tenantId, ...values]);
  // Nobody else's use of a session is to be taken for a change.
  await asOwner('update session set last_used_at = now() where tenant_id = $1', [tenantId]);
}

/** The tables with a tenant. */
export async function tenantTables({ asOwner }: TestDatabase): Promise<string[]> {
  const found = await asOwner<{ name: string }>(
    `select c.table_name as name from information_schema.columns c
       join information_schema.tables t on t.table_schema = c.table_schema and t.table_name = c.table_name
      where c.table_schema = 'public' and c.column_name = 'tenant_id' and t.table_type = 'BASE TABLE' order by 1`,
  );
  return found.map(({ name }) => name);
}

/** Of each table the number of the tenant's rows and a digest of all they say, but for when a credential was last used. */
export async function digestsOf(database: TestDatabase, tenantId: string): Promise<Record<string, string>> {
  const tables = await tenantTables(database);
  const digest = (table: string, column: string) =>
    `select '${table}' as name, count(*) || ' ' || md5(coalesce(string_agg((to_jsonb(t) - 'last_used_at')::text, ',' order by t::text), '')) as digest
       from ${table} t where ${column} = $1::uuid`;
  const statement = [digest('tenant', 'id'), ...tables.map((table) => digest(table, 'tenant_id'))].join(' union all ');
  const rows = await database.asOwner<{ name: string; digest: string }>(statement, [tenantId]);
  return Object.fromEntries(rows.map(({ name, digest }) => [name, digest]));
}

/** Every id of a row of the tenant, as the database writes it and as the API does. */
async function idsOf(database: TestDatabase, tenantId: string): Promise<string[]> {
  const columns = await database.asOwner<{ table: string }>(
    `select table_name as table from information_schema.columns
      where table_schema = 'public' and column_name = 'id' and data_type = 'uuid' and table_name <> 'tenant'`,
  );
  const statement = columns.map(({ table }) => `select id::text from ${table} where tenant_id = $1`).join(' union ');
  const rows = await database.asOwner<{ id: string }>(statement, [tenantId]);
  return [tenantId, ...rows.map(({ id }) => id)].flatMap((id) => [id, id.replaceAll('-', '')]);
}

async function rowOf({ asOwner }: TestDatabase, table: string, which: string, tenantId: string): Promise<string> {
  const [row] = await asOwner<{ id: string }>(`select id from ${table} where tenant_id = $1 and ${which}`, [tenantId]);
  return row!.id;
}

function uuidOf(id: string): string {
  return id.slice(id.indexOf('_') + 1).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

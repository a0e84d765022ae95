import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../test/servers/database.ts';
import { heldWorkflows, setRunHolds } from './holds.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database?.drop());

test('a run that begins to wait while its endpoint is freed is told of it', async () => {
  const { store, asOwner, tenants } = database;
  const { tenantId, principalId } = tenants.a;
  const runId = randomUUID();
  await asOwner(
    `insert into connector_endpoint (tenant_id, name, connector, config, content_hash, paused_at)
     values ($1::uuid, 'acme-sftp', 'sftp', '{}', '', now())`,
    [tenantId],
  );
  await asOwner(
    `insert into run (tenant_id, id, pipeline_name, status, trigger, workflow_id, created_by)
     values ($1::uuid, $2::uuid, 'orders', 'running', 'manual', 'the-workflow', $3::uuid)`,
    [tenantId, runId, principalId],
  );
  const free = () =>
    store.sql(tenantId, async (sql) => {
      await sql.query(`update connector_endpoint set paused_at = null where tenant_id = $1::uuid`, [tenantId]);
      return heldWorkflows(sql, tenantId, 'acme-sftp');
    });
  const waitsForLock = async () =>
    (await asOwner(`select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()`))
      .length > 0;

  let freed: Promise<string[]> | undefined;
  const told = await store.sql(tenantId, async (sql) => {
    const hold = { endpoint: 'acme-sftp', reason: 'paused', untilMs: Date.now() + 60_000 };
    const answer = await setRunHolds(sql, tenantId, runId, 'acme-sftp, paused', [hold]);
    let isFreed = false;
    freed = free().finally(() => {
      isFreed = true;
    });
    await expect.poll(async () => isFreed || (await waitsForLock()), { timeout: 20_000 }).toBe(true);
    return answer;
  });
  expect(told).toEqual([]);
  expect(await freed).toEqual(['the-workflow']);
});

test('of the runs that wait for an endpoint the oldest is told first that it is free', async () => {
  const { store, asOwner, tenants } = database;
  const { tenantId, principalId } = tenants.b;
  await asOwner(
    `insert into connector_endpoint (tenant_id, name, connector, config, content_hash, paused_at)
     values ($1::uuid, 'acme-sftp', 'sftp', '{}', '', now())`,
    [tenantId],
  );
  const hold = { endpoint: 'acme-sftp', reason: 'paused', untilMs: null };
  for (const hoursAgo of [2, 5, 1, 4, 3]) {
    const runId = randomUUID();
    await asOwner(
      `insert into run (tenant_id, id, pipeline_name, status, trigger, workflow_id, created_by, created_at)
       values ($1::uuid, $2::uuid, 'orders', 'running', 'manual', $4::text, $3::uuid, now() - make_interval(hours => $5::int))`,
      [tenantId, runId, principalId, `of ${hoursAgo} hours ago`, hoursAgo],
    );
    await store.sql(tenantId, (sql) => setRunHolds(sql, tenantId, runId, 'acme-sftp, paused', [hold]));
  }
  const told = await store.sql(tenantId, (sql) => heldWorkflows(sql, tenantId, 'acme-sftp'));
  expect(told).toEqual([5, 4, 3, 2, 1].map((hoursAgo) => `of ${hoursAgo} hours ago`));
});

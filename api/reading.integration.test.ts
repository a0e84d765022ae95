import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { rowId } from '../schema/names.ts';
import { startTestApi, type TestApi } from '../test/servers/api.ts';
import { type History, writeHistory } from '../test/servers/history.ts';
import { limits } from './limits.ts';

let api: TestApi;
let history: History;
beforeAll(async () => {
  api = await startTestApi(null);
  history = await writeHistory(api.database.store, api.database.tenants.a, { deliveryState: 'published' });
});
afterAll(async () => {
  await api.close();
});

async function ask(query: string, variables?: Record<string, unknown>) {
  const { body } = await api.graphql(api.keys.a, query, variables);
  expect(body.errors).toBeUndefined();
  return body.data;
}

test('one query leads from a transfer to run, version, session, principal, audit events and webhook deliveries', async () => {
  const data = await ask(
    `query($id: ID!) { transfer(id: $id) {
      step status counts { files bytes skipped failed }
      deliveries { edges { node { state source { endpoint path size } target { endpoint path } bytes sha256 error { kind advice } } } }
      run { id status startedBy { name }
        version { hash pipeline { name description labels } publishedBy { name } }
        session { kind applicationId principal { id name role } runs { edges { node { id } } } }
        auditEvents { edges { node { id type principal { name } session { id } run { id } deliveryId
          webhookDeliveries { edges { node { messageId state webhook { name url } } } } } } }
        webhookDeliveries { edges { node { id type attempts } } } } } }`,
    { id: history.transfer },
  );
  const { transfer } = data;
  expect(transfer.counts).toEqual({ files: 1, bytes: 12, skipped: 0, failed: 0 });
  expect(transfer.deliveries.edges[0].node).toMatchObject({
    state: 'published',
    source: { endpoint: 'acme-sftp', path: '/out/orders one.csv', size: 12 },
    sha256: 'cd'.repeat(32),
  });
  expect(transfer.run.id).toBe(history.run);
  expect(transfer.run.version.pipeline).toEqual({ name: 'orders', description: 'Orders in', labels: { team: 'one' } });
  expect(transfer.run.session.principal).toEqual({ id: history.principal, name: 'owner', role: 'owner' });
  const [event] = transfer.run.auditEvents.edges;
  expect(event.node).toMatchObject({ id: history.auditEvent, type: 'orders.received', deliveryId: history.delivery });
  expect(event.node.webhookDeliveries.edges[0].node.webhook).toEqual({
    name: 'orders',
    url: 'https://partner.example/hook',
  });
  expect(transfer.run.webhookDeliveries.edges[0].node.id).toBe(history.webhookDelivery);
});

describe('a connection', () => {
  test('gives every row once, newest first, while rows are added and many share a moment', async () => {
    await writeRuns('paged', 25);
    const seen: string[] = [];
    let after: string | null = null;
    let pages = 0;
    do {
      const { runs } = await ask(
        'query($after: String) { runs(first: 10, after: $after, pipeline: "paged") { edges { cursor node { id } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }',
        { after },
      );
      expect(runs.pageInfo.hasPreviousPage).toBe(after !== null);
      expect(runs.pageInfo.startCursor).toBe(runs.edges[0].cursor);
      seen.push(...runs.edges.map(({ node }: { node: { id: string } }) => node.id));
      after = runs.pageInfo.hasNextPage ? runs.pageInfo.endCursor : null;
      if (pages++ === 0) await writeRuns('paged', 3);
    } while (after !== null);
    const written = await api.database.asOwner<{ id: string }>(
      `select id from run where pipeline_name = 'paged' order by created_at desc, id desc offset 3`,
    );
    expect(seen.map((id) => rowId('run', id))).toEqual(written.map(({ id }) => id));
    expect(pages).toBe(3);
  });

  test('by name goes on after the name', async () => {
    await api.database.store.sql(api.database.tenants.a.tenantId, (sql) =>
      sql.query(
        `insert into secret (tenant_id, name, ciphertext, digest) select $1::uuid, 'named-' || n, '\\x00', '' from generate_series(1, 5) n`,
        [api.database.tenants.a.tenantId],
      ),
    );
    const first = await ask('{ secrets(first: 4) { edges { node { name } } pageInfo { endCursor hasNextPage } } }');
    const rest = await ask(
      'query($after: String) { secrets(after: $after) { edges { node { name } } pageInfo { hasNextPage } } }',
      {
        after: first.secrets.pageInfo.endCursor,
      },
    );
    const names = [...first.secrets.edges, ...rest.secrets.edges].map(({ node }) => node.name);
    expect(names).toEqual([1, 2, 3, 4, 5].map((n) => `named-${n}`).concat('shared-password'));
    expect(rest.secrets.pageInfo.hasNextPage).toBe(false);
  });

  test('of a hundred runs reads their versions and sessions in as many transactions as of one', async () => {
    await writeRuns('listed', 100);
    const query = `query($first: Int) { runs(first: $first, pipeline: "listed") { edges { node {
      id version { hash publishedBy { name } } session { principal { name } } progress { filesDone } } } } }`;
    const transactionsOf = async (first: number) => {
      const before = api.transactions();
      expect((await ask(query, { first })).runs.edges).toHaveLength(first);
      return api.transactions() - before;
    };
    expect(await transactionsOf(100)).toBe(await transactionsOf(1));
  });
});

describe('deliveries', () => {
  const found = async (filter: Record<string, unknown>) => {
    const data = await ask(
      'query($filter: DeliveryFilter) { deliveries(first: 100, filter: $filter) { edges { node { source { path } } } } }',
      { filter },
    );
    return data.deliveries.edges.map(({ node }: { node: { source: { path: string } } }) => node.source.path).sort();
  };
  beforeAll(async () => {
    await writeDeliveries([
      '/in/a_1.csv',
      '/in/aX1.csv',
      '/in/deep/er/b.csv',
      '/in/100%/c.txt',
      '/else/d.csv',
      '/in/Ä ü#.csv',
    ]);
  });

  test('are found by a glob over their paths, where _ and % mean themselves', async () => {
    expect(await found({ glob: '/in/*.csv' })).toEqual(['/in/aX1.csv', '/in/a_1.csv', '/in/Ä ü#.csv']);
    expect(await found({ glob: '/in/a_*' })).toEqual(['/in/a_1.csv']);
    expect(await found({ glob: '/in/100%/*' })).toEqual(['/in/100%/c.txt']);
    expect(await found({ glob: '/in/**/b.csv' })).toEqual(['/in/deep/er/b.csv']);
    expect(await found({ glob: 'd.csv' })).toEqual(['/else/d.csv']);
    expect(await found({ glob: '/target/in/a_1.csv' })).toEqual(['/in/a_1.csv']);
  });

  test('are found by run, state, endpoint, time and digest', async () => {
    expect(await found({ run: history.run, state: 'published' })).toEqual(['/out/orders one.csv']);
    expect(await found({ sha256: 'CD'.repeat(32) })).toEqual(['/out/orders one.csv']);
    expect(await found({ endpoint: 'nobody' })).toEqual([]);
    expect(await found({ since: new Date(Date.now() + 60_000).toISOString() })).toEqual([]);
    expect((await found({ endpoint: 'landing-zone' })).length).toBe(7);
  });

  test('are not searched with a filter that is out of form', async () => {
    for (const filter of [{ sha256: 'xy' }, { run: 'run_x' }, { glob: '' }, { glob: '/a/../b' }, { glob: '\u0000' }]) {
      const { body } = await api.graphql(
        api.keys.a,
        'query($filter: DeliveryFilter) { deliveries(filter: $filter) { edges { cursor } } }',
        { filter },
      );
      expect(body.errors[0].extensions.code, JSON.stringify(filter)).toBe('INVALID_INPUT');
    }
  });

  test('of a search that looked at its most rows go on behind them', async () => {
    const many = limits.globRows + 2_000;
    await api.database.store.sql(api.database.tenants.a.tenantId, (sql) =>
      sql.query(
        `insert into delivery (tenant_id, transfer_id, run_id, batch, delivery_key, state, source_endpoint, source_path, source_size, target_endpoint, target_path)
          select $1::uuid, $2::uuid, $3::uuid, 1, '\\x00', 'planned', 'a', '/many/' || n || '.csv', 1, 'b', '/many/' || n || '.csv' from generate_series(1, $4::int) n`,
        [api.database.tenants.a.tenantId, rowId('transfer', history.transfer), rowId('run', history.run), many],
      ),
    );
    const query =
      'query($after: String) { deliveries(after: $after, filter: { glob: "/many/*777.csv", endpoint: "a" }) { edges { node { id } } pageInfo { hasNextPage endCursor } } }';
    const none = await ask(query.replace('777', 'none'));
    expect(none.deliveries.edges).toEqual([]);
    expect(none.deliveries.pageInfo.hasNextPage).toBe(true);
    const rest = await ask(query.replace('777', 'none'), { after: none.deliveries.pageInfo.endCursor });
    expect(rest.deliveries.pageInfo.hasNextPage).toBe(false);
    const ids = new Set<string>();
    let after: string | null = null;
    do {
      const { deliveries } = await ask(query, { after });
      for (const { node } of deliveries.edges) ids.add(node.id);
      after = deliveries.pageInfo.hasNextPage ? deliveries.pageInfo.endCursor : null;
    } while (after !== null);
    expect(ids.size).toBe(Math.floor(many / 1_000));
  });
});

/** Runs that all share one moment. */
async function writeRuns(pipeline: string, count: number): Promise<void> {
  const { tenantId, principalId } = api.database.tenants.a;
  await api.database.store.sql(tenantId, (sql) =>
    sql.query(
      `insert into run (tenant_id, version_id, session_id, pipeline_name, status, trigger, workflow_id, created_by)
        select $1::uuid, $2::uuid, $3::uuid, $4::text, 'succeeded', 'manual', '', $5::uuid from generate_series(1, $6::int)`,
      [
        tenantId,
        rowId('pipelineVersion', history.version),
        rowId('session', history.session),
        pipeline,
        principalId,
        count,
      ],
    ),
  );
}

async function writeDeliveries(paths: string[]): Promise<void> {
  const { tenantId } = api.database.tenants.a;
  await api.database.store.sql(tenantId, (sql) =>
    sql.query(
      `insert into delivery (tenant_id, transfer_id, run_id, batch, delivery_key, state, source_endpoint, source_path, source_size, target_endpoint, target_path)
        select $1::uuid, $2::uuid, $3::uuid, 0, '\\x01', 'planned', 'acme-sftp', path, 1, 'landing-zone', '/target' || path from unnest($4::text[]) path`,
      [tenantId, rowId('transfer', history.transfer), rowId('run', history.run), paths],
    ),
  );
}

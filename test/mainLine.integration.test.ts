import { createHash, randomBytes } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startReceiver } from '../cli/demo/receiver.ts';
import { historyText } from './historyText.ts';
import { type Line, startLine } from './servers/line.ts';

let line: Line;
beforeAll(async () => {
  line = await startLine();
});
afterAll(() => line?.stop());

const pipelineText = await readFile(new URL('../pipelines/acme-orders-inbound.yaml', import.meta.url), 'utf8');
const signingSecret = `whsec_${randomBytes(32).toString('base64')}`;

describe('the example pipeline', () => {
  let firstWorkflowId = '';
  const names = ['it\'s "quoted".csv', '100%.csv', '世界 #1.csv', 'empty.csv', 'a b.csv', `${'n'.repeat(251)}.csv`];
  const contents = new Map(
    names.map((name) => [name, name === 'empty.csv' ? Buffer.alloc(0) : randomBytes(10_000 + name.length)]),
  );

  test('brings every file whole and once, tells the webhook, and disposes of the source', async () => {
    const receiver = await startReceiver(signingSecret);
    try {
      await line.write(path.join(line.partnerFolder, 'out'), Object.fromEntries(contents));
      const webhook = `webhook: orders\napiVersion: waybill/v1\nurl: ${receiver.url}\nevents: ["orders.*", "run.completed"]\nsecrets: { signing: { file: ./whsec } }\n---\n`;
      await line.apply(line.endpoints() + webhook + pipelineText, {
        secrets: [
          ...line.endpointSecrets(),
          { kind: 'webhook', name: 'orders', secret: 'signing', value: signingSecret },
        ],
      });
      const run = await line.run('acme-orders-inbound');
      firstWorkflowId = run.workflowId;
      expect(run).toMatchObject({
        status: 'succeeded',
        error: null,
        counts: { files: names.length, skipped: 0, failed: 0 },
      });
      const bytes = [...contents.values()].reduce((sum, content) => sum + content.length, 0);
      expect(run.outputs).toEqual({ files: names.length, bytes });
      expect((await readdir(path.join(line.landingFolder, 'acme'))).sort()).toEqual([...names].sort());
      for (const [name, content] of contents) {
        expect(await readFile(path.join(line.landingFolder, 'acme', name))).toEqual(content);
        const delivery = run.deliveries.edges.find(({ node }) => node.source.path === `/out/${name}`)?.node;
        expect(delivery).toMatchObject({
          state: 'settled',
          sha256: sha256(content),
          target: { path: `/acme/${name}` },
          disposedPath: `/done/${name}`,
        });
      }
      expect(await readdir(path.join(line.partnerFolder, 'out'))).toEqual([]);
      expect(await receiver.received('orders.received', 10_000)).toMatchObject({
        verified: true,
        body: { data: { run: run.id, files: names.length, bytes } },
      });
      expect(await receiver.received('run.completed', 10_000)).toMatchObject({ verified: true });
      const types = run.auditEvents.edges.map(({ node }) => node.type);
      expect(types.filter((type) => type === 'delivery.published')).toHaveLength(names.length);
      expect(types).toEqual(
        expect.arrayContaining([
          'session.opened',
          'run.started',
          'transfer.started',
          'transfer.completed',
          'orders.finished',
          'run.completed',
          'session.closed',
        ]),
      );
    } finally {
      await receiver.close();
    }
  });

  test('moves no byte for a file version that it has delivered, and still clears the source away', async () => {
    const before = await readdir(path.join(line.partnerFolder, 'done'));
    const { rename } = await import('node:fs/promises');
    for (const name of before)
      await rename(path.join(line.partnerFolder, 'done', name), path.join(line.partnerFolder, 'out', name));
    const again = await line.run('acme-orders-inbound');
    expect(again).toMatchObject({
      status: 'succeeded',
      counts: { files: 0, bytes: 0, skipped: names.length, failed: 0 },
    });
    expect(again.deliveries.edges.every(({ node }) => node.state === 'skipped')).toBe(true);
    expect(await readdir(path.join(line.partnerFolder, 'out'))).toEqual([]);
  });

  test('is one query from a transfer to its run, version, session, audit events and webhook messages', async () => {
    const { body } = await line.api.graphql(
      line.api.keys.a,
      `{ transfers(first: 1) { edges { node { step counts { files } run { status version { hash publishedBy { name } }
         session { principal { name } applicationId endedAt } auditEvents(first: 50) { edges { node { type } } }
         webhookDeliveries(first: 10) { edges { node { type state attempts } } } } } } } }`,
    );
    expect(body.errors).toBeUndefined();
    const { run, step } = body.data.transfers.edges[0].node;
    expect(step).toBe('orders');
    expect(run.version.hash).toMatch(/^[0-9a-f]{64}$/);
    expect(run.session).toMatchObject({ applicationId: 10, endedAt: expect.any(String) });
    expect(run.auditEvents.edges.length).toBeGreaterThan(5);
    expect(run.webhookDeliveries.edges.map((edge: { node: { type: string } }) => edge.node.type).sort()).toEqual([
      'orders.finished',
      'orders.received',
      'run.completed',
    ]);
  });

  test('shows in Temporal under its own name, with its tenant and outcome, and no file name in history', async () => {
    const handle = line.api.temporal.workflow.getHandle(firstWorkflowId);
    const { type, status, searchAttributes } = await handle.describe();
    expect({ type, status: status.name }).toEqual({ type: 'acme-orders-inbound', status: 'COMPLETED' });
    expect(searchAttributes).toMatchObject({ WaybillPipeline: ['acme-orders-inbound'], WaybillStatus: ['succeeded'] });
    const { stored, decrypted } = await historyText(line.api, firstWorkflowId);
    expect(decrypted).toContain('/out/*.csv');
    expect(decrypted).not.toContain('世界');
    expect(decrypted).not.toContain('quoted');
    expect(stored).not.toContain('/out/');
  });
});

describe('a webhook', () => {
  test('that fails is tried again with the same id, three times, until it is taken', async () => {
    const receiver = await startFlakyReceiver((attempt) => (attempt < 4 ? 503 : 204));
    await publishNews('flaky', receiver.url);
    await line.run('flaky-news');
    await expect.poll(() => receiver.ids.length, { timeout: 20_000 }).toBe(4);
    expect(new Set(receiver.ids).size).toBe(1);
    await expect.poll(() => lastMessage('flaky'), { timeout: 10_000 }).toEqual({ state: 'delivered', attempts: 4 });
    await receiver.close();
  });

  test('gets a message whose notification was lost, and one whose retries never began, at the next look', async () => {
    const receiver = await startFlakyReceiver(() => 204);
    await publishNews('lost', receiver.url);
    const { tenantId } = line.api.database.tenants.a;
    await line.api.database.store.sql(tenantId, (sql) =>
      sql.query(
        `insert into webhook_delivery (tenant_id, webhook_id, message_id, type, body, state, attempts)
         select w.tenant_id, w.id, m.id, 'lost.news', '{}', m.state, m.attempts
           from webhook w, (values ('msg_1', 'pending', 0), ('msg_2', 'retrying', 1)) as m(id, state, attempts)
          where w.tenant_id = $1::uuid and w.name = 'lost'`,
        [tenantId],
      ),
    );
    await line.api.temporal.schedule.getHandle('waybill/reconcile').trigger();
    await expect.poll(() => [...receiver.ids].sort(), { timeout: 20_000 }).toEqual(['msg_1', 'msg_2']);
    await receiver.close();
  });

  test('that answers 410 is asked once, and the message is given up with an event', async () => {
    const receiver = await startFlakyReceiver(() => 410);
    await publishNews('gone', receiver.url);
    await line.run('gone-news');
    await expect.poll(() => lastMessage('gone'), { timeout: 10_000 }).toEqual({ state: 'failed', attempts: 1 });
    const { body } = await line.api.graphql(
      line.api.keys.a,
      '{ auditEvents(first: 50, type: "webhook.failed") { edges { node { data } } } }',
    );
    const told = body.data.auditEvents.edges.map((edge: { node: { data: unknown } }) => edge.node.data);
    expect(told).toContainEqual(expect.objectContaining({ webhook: 'gone', attempts: 1 }));
    await receiver.close();
  });
});

test('no secret stands in clear in any table, history or log', async () => {
  const { database, keys, temporal } = line.api;
  const secrets = [
    ...line.partner.privateKey.split('\n').filter((text) => text.length > 40),
    signingSecret.slice('whsec_'.length),
    keys.a,
    keys.b,
  ];
  expect(secrets.length).toBeGreaterThan(5);
  const tables = await database.asOwner<{ name: string }>(
    `select table_name as name from information_schema.tables where table_schema = 'public'`,
  );
  expect(tables.length).toBeGreaterThan(15);
  const places = new Map<string, string>();
  for (const { name } of tables) {
    // The owner is behind the wall too, so each tenant is asked.
    for (const { tenantId } of Object.values(database.tenants)) {
      const rows = await database.asOwner<{ text: string }>(
        `with tenant_set as materialized (select set_config('app.tenant_id', '${tenantId}', false))
         select t::text as text from tenant_set, lateral (select * from "${name}") t`,
      );
      places.set(`${name} ${tenantId}`, rows.map((row) => row.text).join('\n'));
    }
  }
  expect(places.get(`secret ${database.tenants.a.tenantId}`)).toContain('endpoint/acme-sftp/privateKey');
  for await (const { workflowId } of temporal.workflow.list()) {
    places.set(workflowId, Object.values(await historyText(line.api, workflowId)).join('\n'));
  }
  places.set('log', line.logged.join('\n'));
  const leaks = [...places].filter(([, text]) =>
    secrets.some((secret) => text.includes(secret) || text.includes(Buffer.from(secret).toString('hex'))),
  );
  expect(leaks.map(([place]) => place)).toEqual([]);
});

/** A receiver whose n-th answer has the status that `answer` gives for n. */
async function startFlakyReceiver(answer: (attempt: number) => number) {
  const ids: string[] = [];
  const server = createServer((request, response) => {
    request.resume().on('end', () => {
      ids.push(String(request.headers['webhook-id']));
      response.writeHead(answer(ids.length)).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  return { ids, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, close };
}

/** A webhook of that name, and a pipeline `<name>-news` that sends it one message. */
async function publishNews(name: string, url: string): Promise<void> {
  await line.apply(
    `webhook: ${name}
apiVersion: waybill/v1
url: ${url}
events: ["${name}.*"]
secrets: { signing: { file: ./whsec } }
---
pipeline: ${name}-news
apiVersion: waybill/v1
steps: [ { use: webhook.send@1, with: { event: ${name}.news } } ]
`,
    { secrets: [{ kind: 'webhook', name, secret: 'signing', value: signingSecret }] },
  );
}

async function lastMessage(webhook: string) {
  const query =
    '{ webhooks(first: 10) { edges { node { name deliveries(first: 1) { edges { node { state attempts } } } } } } }';
  const { body } = await line.api.graphql(line.api.keys.a, query);
  const found = body.data.webhooks.edges.find((edge: { node: { name: string } }) => edge.node.name === webhook);
  return found.node.deliveries.edges[0]?.node;
}

function sha256(content: Buffer): string {
  return createHash('sha256').update(content).digest('hex');
}

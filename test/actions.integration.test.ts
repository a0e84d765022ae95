import { readFile } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { historyText } from './historyText.ts';
import { makeCertificates } from './servers/certificates.ts';
import { type Line, startLine } from './servers/line.ts';
import { type MailServer, startMail } from './servers/mail.ts';
import { type AskedRequest, startWeb, type WebServer } from './servers/web.ts';

const secrets = {
  token: 'canary-token-of-the-shop',
  password: 'canary-password-of-the-mail',
  channel: '/services/canary-of-the-channel',
};
let line: Line;
let web: WebServer;
let mail: MailServer;
let answer: (request: AskedRequest, response: ServerResponse) => void;

beforeAll(async () => {
  const { ca, server } = await makeCertificates();
  line = await startLine();
  web = await startWeb((request, response) => answer(request, response));
  mail = await startMail({ cert: server.certificate, key: server.key, password: secrets.password });
  const documents = `
---
endpoint: shop-api
apiVersion: waybill/v1
connector: http
config: { baseUrl: "${web.url}/v2", auth: bearer, allowPlain: true }
secrets: { token: { file: ./token } }
---
endpoint: office-mail
apiVersion: waybill/v1
connector: smtp
config: { host: 127.0.0.1, port: ${mail.port}, username: waybill, from: waybill@acme.example }
secrets: { password: { file: ./password }, ca: { file: ./ca.pem } }
---
endpoint: ops-channel
apiVersion: waybill/v1
connector: slack
config: { allowPlain: true }
secrets: { url: { file: ./url } }
`;
  await line.apply(line.endpoints() + documents, {
    secrets: [
      ...line.endpointSecrets(),
      { kind: 'endpoint', name: 'shop-api', secret: 'token', value: secrets.token },
      { kind: 'endpoint', name: 'office-mail', secret: 'password', value: secrets.password },
      { kind: 'endpoint', name: 'office-mail', secret: 'ca', value: ca },
      { kind: 'endpoint', name: 'ops-channel', secret: 'url', value: `${web.url}${secrets.channel}` },
    ],
  });
});
afterAll(async () => {
  await web?.stop();
  await mail?.stop();
  await line?.stop();
});

const pipeline = `
pipeline: acme-orders-announced
apiVersion: waybill/v1
endpoints: { partner: acme-sftp, landing: landing-zone, shop: shop-api, mail: office-mail, ops: ops-channel }
steps:
  - { id: desk, use: session.open@1, with: { application: 20 } }
  - { id: left, use: session.open@1 }
  - { id: marker, use: files.stat@1, with: { at: "partner:/out/READY" } }
  - { id: none, use: files.stat@1, with: { at: "partner:/out/GONE" } }
  - { id: order, use: files.read@1, with: { at: "partner:/out/order.json", parse: json } }
  - { id: folder, use: files.makeFolder@1, with: { at: "partner:/out/today/" } }
  - id: announce
    use: http.request@1
    with: { endpoint: shop, method: POST, path: "/orders/\${{ steps.order.json.number }}", json: "\${{ steps.order.json }}", expect: [201] }
  - id: receipt
    use: files.write@1
    with: { to: "landing:/receipts/\${{ steps.order.json.number }}.json", json: { shop: "\${{ steps.announce.json.id }}", gone: "\${{ steps.none.found }}" } }
  - { id: told, use: notify.send@1, with: { via: mail, to: ops@acme.example, subject: Orders, text: "Order \${{ steps.order.json.number }} is in." } }
  - { use: notify.send@1, with: { via: ops, text: "Order \${{ steps.order.json.number }} is in." } }
  - { id: shut, use: session.close@1, with: { session: "\${{ steps.desk.session }}" } }
outputs:
  made: steps.folder.created
  bytes: steps.receipt.bytes
  accepted: steps.told.accepted
  status: steps.announce.status
  size: steps.marker.size
`;

test('the actions of a whole pipeline do what they say, over SFTP, HTTP, mail and a channel', async () => {
  answer = (_, response) => void response.writeHead(201, { 'content-type': 'application/json' }).end('{"id":"S-9"}');
  await line.apply(pipeline);
  await line.write(path.join(line.partnerFolder, 'out'), { READY: 'now', 'order.json': '{"number": 4711}' });
  const run = await line.run('acme-orders-announced');
  expect(run).toMatchObject({ status: 'succeeded', error: null });
  expect(run.outputs).toEqual({ made: true, bytes: 37, accepted: 1, status: 201, size: 3 });
  expect(JSON.parse(await readFile(path.join(line.landingFolder, 'receipts/4711.json'), 'utf8'))).toEqual({
    shop: 'S-9',
    gone: false,
  });
  expect(web.asked).toMatchObject([
    {
      method: 'POST',
      path: '/v2/orders/4711',
      body: '{"number":4711}',
      headers: { authorization: `Bearer ${secrets.token}` },
    },
    { method: 'POST', path: secrets.channel },
  ]);
  expect(mail.messages).toMatchObject([{ to: ['ops@acme.example'], secure: true }]);
  const types = run.auditEvents.edges.map(({ node }) => node.type);
  expect(types).toEqual(
    expect.arrayContaining(['file.folder-made', 'http.requested', 'file.written', 'notify.sent', 'run.completed']),
  );
  // The run's own, the one that a step closed, and the one that was left open.
  expect(types.filter((type) => type === 'session.opened')).toHaveLength(3);
  expect(types.filter((type) => type === 'session.closed')).toHaveLength(3);
});

test('a server that repeats the credentials in its refusal brings them into no history, table, log or answer', async () => {
  answer = (request, response) =>
    void response
      .writeHead(403, { 'x-echo': request.headers.authorization ?? 'none' })
      .end(`refused: ${request.headers.authorization} ${request.path}`);
  await line.apply(
    pipeline
      .replace('acme-orders-announced', 'acme-orders-refused')
      .concat(
        'onError:\n  - { use: notify.send@1, with: { via: ops, text: "${{ error.message }}" }, onError: [{ use: audit.write@1, with: { event: orders.untold, data: { why: "${{ error.message }}" } } }] }\n',
      ),
  );
  const run = await line.run('acme-orders-refused');
  expect(run).toMatchObject({ status: 'failed', error: { kind: 'forbidden', step: 'announce', path: '/orders/4711' } });
  expect(run.error!.message).toContain('refused: Bearer ***');
  const untold = run.auditEvents.edges.find(({ node }) => node.type === 'orders.untold');
  expect(untold?.node.data.why).toContain('the Slack webhook was answered with 403');
  const history = (await historyText(line.api, run.workflowId)).decrypted;
  expect(history).toContain('refused: Bearer ***');
  const tables = await Promise.all(
    ['run', 'audit_event', 'webhook_delivery', 'connector_endpoint', 'session'].map((table) =>
      line.api.database.asOwner(`select to_jsonb(t)::text as row from ${table} t`),
    ),
  );
  expect(JSON.stringify(tables)).toContain('acme-orders-refused');
  for (const place of [history, JSON.stringify(tables), JSON.stringify(run), line.logged.join('\n')])
    for (const secret of Object.values(secrets)) {
      expect(place).not.toContain(secret);
      expect(place).not.toContain(Buffer.from(secret).toString('base64').replace(/=+$/, ''));
    }
});

test('a check reaches these endpoints and signs in, and sends nothing', async () => {
  answer = (request, response) =>
    void response.writeHead(request.method === 'POST' ? 400 : 200, { server: 'shop/1' }).end();
  const [asked, sent] = [web.asked.length, mail.messages.length];
  const check = async (name: string) => {
    const mutation = `mutation($input: CheckEndpointInput!) { checkEndpoint(input: $input) { ... on CheckEndpointPayload { check { ok server identity errorKind errorMessage } } } }`;
    const { body } = await line.api.graphql(line.api.keys.a, mutation, { input: { name } });
    return body.data.checkEndpoint.check;
  };
  expect(await check('shop-api')).toMatchObject({ ok: true, server: 'shop/1, HTTP 200' });
  expect(await check('office-mail')).toMatchObject({ ok: true, identity: expect.stringMatching(/^SHA256:/) });
  expect(await check('ops-channel')).toMatchObject({ ok: true });
  expect(web.asked.slice(asked)).toMatchObject([
    { method: 'GET', path: '/v2/' },
    { method: 'POST', body: '{}' },
  ]);
  expect(mail.messages).toHaveLength(sent);
  answer = (request, response) => void response.writeHead(401).end(`who is ${request.headers.authorization}`);
  expect(await check('shop-api')).toMatchObject({
    ok: false,
    errorKind: 'unauthenticated',
    errorMessage: expect.not.stringContaining('canary'),
  });
});

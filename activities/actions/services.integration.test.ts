import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { maxRequestBytes } from '../../schema/actions/http.ts';
import { asWaybillError } from '../../schema/errors.ts';
import type { Json } from '../../schema/plan.ts';
import { makeCertificates } from '../../test/servers/certificates.ts';
import { createTestDatabase, type TestDatabase } from '../../test/servers/database.ts';
import { startMail } from '../../test/servers/mail.ts';
import { type AskedRequest, startWeb, type WebServer } from '../../test/servers/web.ts';
import {
  addEndpoint,
  attemptOf,
  type Engine,
  impatient,
  openEngine,
  openWorld,
  type World,
} from '../../test/transfer/world.ts';
import { toApplicationFailure } from '../failure.ts';
import type { FilesInput } from '../transfer/files.ts';
import { requestHttp } from './httpRequest.ts';
import { sendNotification } from './notify.ts';
import { statFile } from './statFile.ts';

let database: TestDatabase;
let engine: Engine;
let world: World & { remove(): Promise<void> };
const closings: Array<() => Promise<unknown>> = [];

beforeAll(async () => {
  database = await createTestDatabase();
  engine = openEngine(database.store);
  world = await openWorld(database.store, database.tenants.a, engine);
});
afterEach(async () => {
  for (const close of closings.splice(0).reverse()) await close();
});
afterAll(async () => {
  await engine?.close();
  await world?.remove();
  await database?.drop();
});

const canary = 'canary-secret-71';

async function serve(answer: (request: AskedRequest, response: ServerResponse) => void): Promise<WebServer> {
  const web = await startWeb(answer);
  closings.push(() => web.stop());
  return web;
}

async function endpoint(
  connector: string,
  config: Record<string, unknown>,
  secrets: Record<string, string> = {},
): Promise<string> {
  const name = `${connector}-${randomUUID().slice(0, 8)}`;
  await addEndpoint(database.store, world.tenantId, name, connector, config, secrets);
  return name;
}

async function step(name: string, given: Record<string, Json>, stepKey = 'steps[0]'): Promise<FilesInput> {
  return { tenantId: world.tenantId, runId: await world.newRun(), stepKey, endpoints: { it: name }, with: given };
}

const dependencies = () => ({ store: database.store, endpoints: engine.endpoints });
const told = (error: unknown) => {
  const failure = toApplicationFailure(error, { policy: impatient, attempt: 1, startedAtMs: Date.now() });
  const { message, context } = asWaybillError(error);
  return JSON.stringify([message, context, failure.message, failure.stack, (failure as { details?: unknown }).details]);
};

describe('http.request', () => {
  const json = (value: unknown) => (_: AskedRequest, response: ServerResponse) =>
    void response
      .writeHead(200, { 'content-type': 'application/problem+json; charset=utf-8' })
      .end(JSON.stringify(value));
  const request = async (
    web: WebServer,
    given: Record<string, Json>,
    options: { attempt?: number; input?: FilesInput } = {},
  ) => {
    const name = await endpoint('http', { baseUrl: web.url, auth: 'bearer', allowPlain: true }, { token: canary });
    const input = options.input ?? (await step(name, { endpoint: 'it', path: '/orders', ...given }));
    return requestHttp(dependencies(), input, attemptOf({ attempt: options.attempt ?? 1 }));
  };

  test('sends what the step says with the credentials of the endpoint, and gives the answer as JSON or as text', async () => {
    const web = await serve(json({ id: 7 }));
    const answer = await request(web, {
      method: 'POST',
      json: { lines: [1, 'ü'] },
      query: { dry: true, tag: ['a', 2], none: null },
      headers: { 'X-Trace': 'abc' },
    });
    expect(answer).toMatchObject({ status: 200, json: { id: 7 }, text: '' });
    expect(web.asked).toMatchObject([
      {
        method: 'POST',
        path: '/orders?dry=true&tag=a&tag=2',
        body: '{"lines":[1,"ü"]}',
        headers: { authorization: `Bearer ${canary}`, 'content-type': 'application/json', 'x-trace': 'abc' },
      },
    ]);
    const plain = await serve((_, response) => void response.end('{"a":1}'));
    expect(await request(plain, {})).toMatchObject({ text: '{"a":1}', json: null });
    expect(await request(plain, { parse: 'json' })).toMatchObject({ text: '', json: { a: 1 } });
    expect(await request(web, { parse: 'none' })).toMatchObject({ text: '{"id":7}', json: null });
    const words = await serve((_, response) => void response.end('words'));
    await expect(request(words, { parse: 'json' })).rejects.toMatchObject({ kind: 'protocol' });
  });

  test('bears one Idempotency-Key in every attempt of a step that may change something, and another in another step', async () => {
    const web = await serve(json({}));
    const name = await endpoint('http', { baseUrl: web.url });
    const given = { endpoint: 'it', path: '/', method: 'POST', text: 'x' };
    const input = await step(name, given);
    await requestHttp(dependencies(), input, attemptOf());
    await requestHttp(dependencies(), input, attemptOf({ attempt: 2 }));
    await requestHttp(dependencies(), { ...input, stepKey: 'steps[1]' }, attemptOf());
    await requestHttp(
      dependencies(),
      { ...input, with: { ...given, headers: { 'idempotency-key': 'own' } } },
      attemptOf(),
    );
    await requestHttp(dependencies(), { ...input, with: { endpoint: 'it', path: '/' } }, attemptOf());
    const keys = web.asked.map(({ headers }) => headers['idempotency-key']);
    expect(keys[0]).toMatch(/^[0-9a-f]{32}$/);
    expect(keys[1]).toBe(keys[0]);
    expect(keys[2]).not.toBe(keys[0]);
    expect(keys.slice(3)).toEqual(['own', undefined]);
  });

  test.each([
    [400, 'invalid'],
    [401, 'unauthenticated'],
    [403, 'forbidden'],
    [404, 'not-found'],
    [405, 'unsupported'],
    [408, 'rate-limited'],
    [409, 'conflict'],
    [422, 'invalid'],
    [429, 'rate-limited'],
    [500, 'unavailable'],
    [503, 'unavailable'],
    [507, 'disk-full'],
    [302, 'protocol'],
  ] as const)(
    '%i is %s, says endpoint and path, and what the server says without the credentials',
    async (status, kind) => {
      const web = await serve((asked, response) =>
        response.writeHead(status, { 'retry-after': '3' }).end(`you sent ${asked.headers.authorization}`),
      );
      const error = await request(web, {}).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({
        kind,
        context: { path: '/orders', endpoint: expect.stringMatching(/^http-/), retryAfterMs: 3000 },
      });
      expect((error as Error).message).toContain(`GET /orders was answered with ${status}: you sent Bearer ***`);
      expect(told(error)).not.toMatch(/canary|Y2FuYXJ5/);
    },
  );

  test('a status that the step expects is a success, and any other is none', async () => {
    const web = await serve((_, response) => void response.writeHead(404).end());
    expect(await request(web, { expect: [200, 404] })).toMatchObject({ status: 404, text: '', json: null });
    const fine = await serve((_, response) => void response.writeHead(202).end());
    await expect(request(fine, { expect: [200] })).rejects.toMatchObject({
      kind: 'protocol',
      message: /answered with 202/,
    });
  });

  test.each([
    [{ text: 'x' }, /GET sends nothing/],
    [{ method: 'POST', text: 'x', json: 1 }, /not both/],
    [{ method: 'POST', text: 'x'.repeat(maxRequestBytes + 1) }, /262145 bytes/],
    [{ method: 'TRACE' }, /method is "TRACE"/],
    [{ path: '/../admin' }, /cannot be asked for/],
    [{ headers: { Authorization: 'Bearer x' } }, /set by the endpoint/],
    [{ query: { a: { b: 1 } } }, /query.a/],
    [{ endpoint: 'other' }, /no alias/],
  ])('%j is invalid before anything is sent', async (given, message) => {
    const web = await serve(json({}));
    await expect(request(web, given as Record<string, Json>)).rejects.toMatchObject({ kind: 'invalid', message });
    expect(web.asked).toEqual([]);
  });

  test('what may have changed something leaves one event, what only asks leaves none', async () => {
    const web = await serve(json({}));
    const name = await endpoint('http', { baseUrl: web.url });
    const post = await step(name, { endpoint: 'it', path: '/orders', method: 'POST', json: {} });
    await requestHttp(dependencies(), post, attemptOf());
    await requestHttp(dependencies(), post, attemptOf({ attempt: 2 }));
    await requestHttp(dependencies(), await step(name, { endpoint: 'it', path: '/orders' }), attemptOf());
    expect((await world.events('http.requested')).filter(({ data }) => data.endpoint === name)).toEqual([
      { deliveryId: null, data: { endpoint: name, method: 'POST', path: '/orders', status: 200 } },
    ]);
  });
});

test('an endpoint is asked no more at a time than its limits.concurrency', async () => {
  const held: ServerResponse[] = [];
  let twoAreIn = () => {};
  const two = new Promise<void>((resolve) => {
    twoAreIn = resolve;
  });
  let isOpen = false;
  const web = await serve((_, response) => {
    if (isOpen) return void response.end();
    if (held.push(response) === 2) twoAreIn();
  });
  const witness = await serve((_, response) => void response.end());
  const name = `http-${randomUUID().slice(0, 8)}`;
  await addEndpoint(database.store, world.tenantId, name, 'http', { baseUrl: web.url }, {}, { concurrency: 2 });
  const input = await step(name, { endpoint: 'it', path: '/' });
  const asking = Array.from({ length: 8 }, () => requestHttp(dependencies(), input, attemptOf()));
  await two;
  // Whatever else was let in would have arrived while these went there and back.
  const other = await step(await endpoint('http', { baseUrl: witness.url }), { endpoint: 'it', path: '/' });
  for (let round = 0; round < 10; round++) await requestHttp(dependencies(), other, attemptOf());
  expect(web.asked).toHaveLength(2);
  isOpen = true;
  for (const response of held) response.end();
  await Promise.all(asking);
  expect(web.asked).toHaveLength(8);
});

describe('notify.send', () => {
  test('hands a message to a mail server, once for each attempt, with an id that stays', async () => {
    const { ca, server } = await makeCertificates();
    const mail = await startMail({ cert: server.certificate, key: server.key, password: canary });
    closings.push(() => mail.stop());
    const config = { host: '127.0.0.1', port: mail.port, username: 'waybill', from: 'waybill@acme.example' };
    const name = await endpoint('smtp', config, { password: canary, ca });
    const input = await step(name, { via: 'it', to: 'ops@acme.example', subject: 'Orders', text: 'failed' });
    const sent = await sendNotification(dependencies(), input, attemptOf());
    expect(sent).toEqual({ messageId: expect.stringMatching(/^[0-9a-f]{32}$/), accepted: 1, rejected: [] });
    expect(await sendNotification(dependencies(), input, attemptOf({ attempt: 2 }))).toEqual(sent);
    const ids = mail.messages.map(({ raw }) => /^Message-ID: <waybill\.(.*)@acme\.example>\r$/im.exec(raw)?.[1]);
    expect(ids).toEqual([sent.messageId, sent.messageId]);
    const events = (await world.events('notify.sent')).filter(({ data }) => data.endpoint === name);
    expect(events.map(({ data }) => data)).toEqual([{ endpoint: name, ...sent }]);
  });

  test('posts into a channel, and never tells its address', async () => {
    let status = 200;
    const web = await serve((asked, response) => response.writeHead(status).end(`no channel at ${asked.path}`));
    const name = await endpoint('slack', { allowPlain: true }, { url: `${web.url}/services/${canary}` });
    const input = await step(name, { via: 'it', text: 'failed' });
    expect(await sendNotification(dependencies(), input, attemptOf())).toMatchObject({ accepted: 1 });
    status = 404;
    const error = await sendNotification(dependencies(), input, attemptOf()).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ kind: 'not-found', context: { endpoint: name } });
    expect(told(error)).not.toContain('canary');
    await web.stop();
    const away = await sendNotification(dependencies(), input, attemptOf()).catch((thrown: unknown) => thrown);
    expect(away).toMatchObject({ kind: 'unavailable' });
    expect(told(away)).not.toContain('canary');
  });

  test.each([
    [{ text: ' ' }, /must say something/],
    [{ text: 'x'.repeat(16_001) }, /16001 characters/],
    [{ text: 'x', to: { a: 1 } }, /`to` must be/],
    [{ text: 'x', subject: 7 }, /`subject`/],
    [{ text: 'x', format: 'rtf' }, /format is "rtf"/],
  ])('%j is invalid', async (given, message) => {
    const name = await endpoint('slack', {}, { url: 'https://hooks.acme.example/x' });
    const input = await step(name, { via: 'it', ...(given as Record<string, Json>) });
    await expect(sendNotification(dependencies(), input, attemptOf())).rejects.toMatchObject({
      kind: 'invalid',
      message,
    });
  });
});

test('an action on an endpoint of another kind is unsupported, and says which kind it takes', async () => {
  const web = await endpoint('http', { baseUrl: 'https://api.acme.example' });
  const local = await endpoint('local', { root: world.source });
  const chat = await endpoint('slack', {}, { url: 'https://hooks.acme.example/x' });
  const looking = statFile(dependencies(), await step(web, { at: 'it:/a.csv' }), attemptOf());
  await expect(looking).rejects.toMatchObject({
    kind: 'unsupported',
    message: `${web} is an HTTP interface, and the step needs something else: a file action takes an endpoint of a connector such as sftp or local`,
  });
  const asking = requestHttp(dependencies(), await step(local, { endpoint: 'it', path: '/' }), attemptOf());
  await expect(asking).rejects.toMatchObject({ kind: 'unsupported', message: /holds files.*connector http/ });
  const telling = sendNotification(dependencies(), await step(web, { via: 'it', text: 'x' }), attemptOf());
  await expect(telling).rejects.toMatchObject({ kind: 'unsupported', message: /connector smtp, slack or teams/ });
  const copying = engine.work.planTransfer(
    { ...(await step(chat, { from: 'it:/a.csv', to: 'it:/b/' })), step: 'copy' },
    attemptOf(),
  );
  await expect(copying).rejects.toMatchObject({ kind: 'unsupported', message: /sends messages/ });
});

import type { Payload } from '@temporalio/common';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createPayloadCodec, decodePayload, encodePayloads } from '../identity/keys/payloadCodec.ts';
import { installationId } from '../identity/keys/tenantKeys.ts';
import { post, startTestApi, type TestApi } from '../test/servers/api.ts';

const uiUrl = 'http://temporal.example:8080';
let api: TestApi;
let codecUrl: string;
beforeAll(async () => {
  api = await startTestApi({ address: '127.0.0.1:1', uiUrl: `${uiUrl}/some/path` });
  codecUrl = new URL('/codec', api.url).href;
});
afterAll(() => api.close());

const json = (value: unknown): Payload => ({
  metadata: { encoding: Buffer.from('json/plain') },
  data: Buffer.from(JSON.stringify(value)),
});
const wire = ({ metadata, data }: Payload) => ({
  metadata: Object.fromEntries(
    Object.entries(metadata ?? {}).map(([name, bytes]) => [name, Buffer.from(bytes).toString('base64')]),
  ),
  data: Buffer.from(data ?? '').toString('base64'),
});
const textOf = (payload: { data: string }) => Buffer.from(payload.data, 'base64').toString('utf8');
const tenantA = () => api.database.tenants.a.tenantId;
const tenantB = () => api.database.tenants.b.tenantId;
const workflowOf = (tenantId: string) =>
  ({ type: 'workflow', namespace: 'default', workflowId: `${tenantId}/pipeline/run` }) as const;

describe('the codec', () => {
  test('encrypts under the key of the tenant in the workflow id, and decrypts to the same payload', async () => {
    const codec = createPayloadCodec(api.tenantKeys);
    const [sealed] = await codec.encode([json({ canary: 'file-name' })], workflowOf(tenantA()));
    expect(JSON.stringify(sealed)).not.toContain('canary');
    expect(Buffer.from(sealed!.data!).includes('canary')).toBe(false);
    expect(Buffer.from(sealed!.metadata!['waybill-key']!).toString()).toBe(`${tenantA()}/1`);
    const [opened] = await codec.decode([sealed!], workflowOf(tenantA()));
    expect(opened!.metadata).toEqual(json(null).metadata);
    expect(Buffer.from(opened!.data!).toString()).toBe('{"canary":"file-name"}');
  });

  test('encrypts what belongs to no tenant under the key of the installation', async () => {
    const codec = createPayloadCodec(api.tenantKeys);
    for (const context of [undefined, { ...workflowOf(tenantA()), workflowId: 'waybill/outbox' }]) {
      const [sealed] = await codec.encode([json(1)], context);
      expect(Buffer.from(sealed!.metadata!['waybill-key']!).toString()).toBe(`${installationId}/1`);
      expect(await codec.decode([sealed!], context)).toEqual([json(1)]);
    }
  });

  test('passes by what is not encrypted, so that runs of an earlier version go on', async () => {
    const codec = createPayloadCodec(api.tenantKeys);
    expect(await codec.decode([json('plain'), { metadata: null, data: null }], workflowOf(tenantA()))).toEqual([
      json('plain'),
      { metadata: null, data: null },
    ]);
  });

  test("refuses another tenant's payload in a workflow, one under another key's name, and one that was changed", async () => {
    const codec = createPayloadCodec(api.tenantKeys);
    const refused = expect.objectContaining({ kind: 'integrity' });
    const [ofB] = await encodePayloads(api.tenantKeys, tenantB(), [json(1)]);
    await expect(codec.decode([ofB!], workflowOf(tenantA()))).rejects.toThrow(refused);
    const renamed = { ...ofB!, metadata: { ...ofB!.metadata, 'waybill-key': Buffer.from(`${tenantA()}/1`) } };
    await expect(codec.decode([renamed], workflowOf(tenantA()))).rejects.toThrow(refused);
    const [ofA] = await encodePayloads(api.tenantKeys, tenantA(), [json(1)]);
    const bytes = Buffer.from(ofA!.data!);
    bytes[bytes.length - 1]! ^= 1;
    await expect(codec.decode([{ ...ofA!, data: bytes }], workflowOf(tenantA()))).rejects.toThrow(refused);
    await expect(codec.decode([{ ...ofA!, data: null }], workflowOf(tenantA()))).rejects.toThrow(refused);
    const unknown = { ...ofA!, metadata: { ...ofA!.metadata, 'waybill-key': Buffer.from('nobody') } };
    await expect(codec.decode([unknown], workflowOf(tenantA()))).rejects.toThrow(refused);
  });
});

describe('POST /codec/decode', () => {
  const ask = (key: string | null, payloads: unknown, headers: Record<string, string> = {}, work = 'decode') =>
    post(`${codecUrl}/${work}`, key, JSON.stringify({ payloads }), headers);

  test('shows payloads of the own tenant, and gives back all others as they were', async () => {
    const [ofA] = await encodePayloads(api.tenantKeys, tenantA(), [json('mine')]);
    const [ofB] = await encodePayloads(api.tenantKeys, tenantB(), [json('theirs')]);
    const [ofNobody] = await encodePayloads(api.tenantKeys, installationId, [json('of all')]);
    const broken = { ...ofA!, data: Buffer.from('x') };
    const sent = [ofA!, ofB!, ofNobody!, broken, json('plain')].map(wire);
    const { status, body } = await ask(api.keys.a, sent, { 'x-namespace': 'default' });
    expect(status).toBe(200);
    expect(textOf(body.payloads[0])).toBe('"mine"');
    expect(body.payloads.slice(1)).toEqual(sent.slice(1));
  });

  test('is for who may run:decode: owners and operators', async () => {
    const { a } = api.database.tenants;
    const [sealed] = await encodePayloads(api.tenantKeys, tenantA(), [json('mine')]);
    for (const [role, status] of [
      ['operator', 200],
      ['owner', 200],
      ['engineer', 403],
      ['auditor', 403],
      ['service', 403],
      ['uploader', 403],
    ] as const) {
      const [{ id }] = (await api.database.asOwner<{ id: string }>(
        `insert into principal (tenant_id, kind, name, role) values ($1, 'user', $2, $3) returning id`,
        [a.tenantId, `codec-${role}`, role],
      )) as [{ id: string }];
      const key = await api.key({ ...a, principalId: id }, ['*']);
      expect((await ask(key, [wire(sealed!)])).status, role).toBe(status);
    }
    expect((await ask(await api.key(a, ['run:read']), [wire(sealed!)])).status).toBe(403);
    expect((await ask(null, [wire(sealed!)])).status).toBe(401);
  });

  test('answers the pages of the configured UI across origins, and no others', async () => {
    const preflight = (origin: string) => fetch(`${codecUrl}/decode`, { method: 'OPTIONS', headers: { origin } });
    const allowed = await preflight(uiUrl);
    expect(allowed.status).toBe(204);
    expect(allowed.headers.get('access-control-allow-origin')).toBe(uiUrl);
    expect(allowed.headers.get('access-control-allow-headers')).toContain('authorization');
    expect((await preflight('http://evil.example')).headers.get('access-control-allow-origin')).toBeNull();
    expect((await ask(api.keys.a, [], { origin: uiUrl })).headers.get('access-control-allow-origin')).toBe(uiUrl);
    expect((await ask(null, [], { origin: uiUrl })).headers.get('access-control-allow-origin')).toBe(uiUrl);
    expect(
      (await ask(api.keys.a, [], { origin: 'http://evil.example' })).headers.get('access-control-allow-origin'),
    ).toBeNull();
    const graphql = await post(api.url, api.keys.a, '{"query":"{__typename}"}', { origin: uiUrl });
    expect(graphql.headers.get('access-control-allow-origin')).toBeNull();
  });

  test.each([
    ['another namespace', [] as unknown, { 'x-namespace': 'other' }, 404],
    ['a form', [], { 'content-type': 'text/plain' }, 415],
    ['no list', 'payloads', {}, 400],
    ['data that is not base64', [{ metadata: {}, data: '%%%' }], {}, 400],
    ['metadata that is a number', [{ metadata: { encoding: 1 } }], {}, 400],
    ['too many', Array.from({ length: 10_001 }, () => ({})), {}, 400],
  ])('refuses %s', async (_, payloads, headers, status) => {
    expect((await ask(api.keys.a, payloads, headers as Record<string, string>)).status).toBe(status);
  });

  test('and /codec/encode is its way back, under the own key only', async () => {
    const { status, body } = await ask(api.keys.b, [wire(json('signal'))], {}, 'encode');
    expect(status).toBe(200);
    const metadata = Object.fromEntries(
      Object.entries(body.payloads[0].metadata as Record<string, string>).map(([name, text]) => [
        name,
        Buffer.from(text, 'base64'),
      ]),
    );
    expect(metadata['waybill-key']!.toString()).toBe(`${tenantB()}/1`);
    const opened = await decodePayload(api.tenantKeys, {
      metadata,
      data: Buffer.from(body.payloads[0].data, 'base64'),
    });
    expect(Buffer.from(opened.data!).toString()).toBe('"signal"');
  });
});

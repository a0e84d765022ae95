import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { sweep } from '../activities/reconcile.ts';
import { type Line, startLine } from './servers/line.ts';
import { startProxy, type TcpProxy } from './servers/proxy.ts';

let line: Line;
let proxy: TcpProxy;
/** What a person is promised: a decision takes effect within so long. */
const effectiveMs = 5_000;
/** Far enough apart for an endpoint to be paused between two of them. */
const threeAttempts = 'retry: { attempts: 3, for: 1h, first: 3s, factor: 1, max: 3s, jitter: 0% }';
const quickRetry = 'retry: { for: 10s, first: 50ms, factor: 1, max: 50ms, jitter: 0% }';

beforeAll(async () => {
  line = await startLine();
  proxy = await startProxy(line.partner);
  const { host, username, hostKeyFingerprint, privateKey } = line.partner;
  const secret = { kind: 'endpoint', secret: 'privateKey', value: privateKey };
  const sftp = (name: string, port: number, more: string) => `endpoint: ${name}
apiVersion: waybill/v1
connector: sftp
config: { host: ${host}, port: ${port}, username: ${username}, root: ${line.partnerFolder}, hostKeys: ["${hostKeyFingerprint}"] }
secrets: { privateKey: { file: ./key } }
${more}
---
`;
  await line.apply(
    line.endpoints() +
      sftp('shaky', proxy.port, '') +
      sftp('narrow', line.partner.port, 'limits: { bandwidth: 1MB }') +
      pipeline('in-from-acme', 'acme-sftp') +
      pipeline('in-from-shaky', 'shaky') +
      pipeline('in-from-narrow', 'narrow') +
      pipeline('out-to-shaky', 'shaky', 'out'),
    { secrets: [...line.endpointSecrets(), { ...secret, name: 'shaky' }, { ...secret, name: 'narrow' }] },
  );
});
afterAll(async () => {
  await line?.stop();
  await proxy?.stop();
});

function pipeline(name: string, endpoint: string, direction: 'in' | 'out' = 'in'): string {
  const [from, to] = direction === 'in' ? ['partner', 'landing'] : ['landing', 'partner'];
  return `pipeline: ${name}
apiVersion: waybill/v1
inputs: { folder: { type: string } }
endpoints: { partner: ${endpoint}, landing: landing-zone }
steps:
  - id: copy
    use: transfer.copy@1
    with: { from: { endpoint: ${from}, glob: "/\${{ inputs.folder }}/*" }, to: "${to}:/\${{ inputs.folder }}/" }
    ${direction === 'in' ? quickRetry : threeAttempts}
---
`;
}

const ask = async (query: string, variables: Record<string, unknown> = {}) => {
  const { body } = await line.api.graphql(line.api.keys.a, query, variables);
  expect(body.errors, JSON.stringify(body.errors)).toBeUndefined();
  return body.data;
};

async function decide(mutation: 'pauseEndpoint' | 'resumeEndpoint', name: string, more: Record<string, unknown> = {}) {
  const type = mutation === 'pauseEndpoint' ? 'PauseEndpointInput' : 'ResumeEndpointInput';
  const data = await ask(
    `mutation($input: ${type}!) { answer: ${mutation}(input: $input) { ... on UserError { message } ... on DecideEndpointPayload { note } } }`,
    { input: { name, reason: 'their maintenance', ...more } },
  );
  expect(data.answer).toEqual({ note: null });
}

const runOf = async (id: string) =>
  (
    await ask(
      `query($id: ID!) { run(id: $id) { status waitingFor workflowId
        deliveries(first: 100) { edges { node { state attempt error { message } } } } } }`,
      { id },
    )
  ).run as {
    status: string;
    waitingFor: string | null;
    workflowId: string;
    deliveries: { edges: Array<{ node: { state: string; attempt: number; error: { message: string } | null } }> };
  };
const deliveriesOf = async (id: string) => (await runOf(id)).deliveries.edges.map(({ node }) => node);
const endpointOf = async (name: string) =>
  (
    await ask(
      `query($name: String!) { endpoint(name: $name) { heldRuns heldDeliveries pause { until reason } breaker { failures openUntil errorKind } } }`,
      { name },
    )
  ).endpoint;
const eventsOf = async (type: string, endpoint: string) =>
  (
    await ask(
      'query($type: String!) { auditEvents(first: 100, type: $type) { edges { node { principal { name } data } } } }',
      { type },
    )
  ).auditEvents.edges.filter((edge: { node: { data: { endpoint: string } } }) => edge.node.data.endpoint === endpoint);
const untilHeld = (id: string) =>
  expect
    .poll(async () => (await deliveriesOf(id)).map(({ state }) => state), { timeout: 20_000, interval: 50 })
    .toContain('held');

describe('a paused endpoint', () => {
  test('holds its files without an attempt while other endpoints go on, and lets them go within seconds of its end', async () => {
    await line.write(line.partnerFolder, { 'pause-one/a.csv': 'a', 'pause-one/b.csv': 'b' });
    await decide('pauseEndpoint', 'landing-zone');
    const id = await line.start('in-from-acme', { folder: 'pause-one' });
    await untilHeld(id);
    const waitingFor = async () => (await runOf(id)).waitingFor;
    await expect.poll(waitingFor, { timeout: effectiveMs }).toBe('landing-zone, paused: their maintenance');
    expect(await deliveriesOf(id)).toEqual(
      ['a', 'b'].map(() => ({
        state: 'held',
        attempt: 0,
        error: { message: 'landing-zone, paused: their maintenance' },
      })),
    );
    expect(await endpointOf('landing-zone')).toMatchObject({ heldRuns: 1, heldDeliveries: 2 });
    const page = await ask('{ deliveries(first: 10, filter: { state: held }) { edges { node { state } } } }');
    expect(page.deliveries.edges).toHaveLength(2);
    await decide('resumeEndpoint', 'landing-zone');
    const askedAtMs = performance.now();
    expect(await line.wait(id)).toMatchObject({ status: 'succeeded', counts: { files: 2 } });
    expect(performance.now() - askedAtMs).toBeLessThan(effectiveMs);
    expect(await deliveriesOf(id)).toMatchObject([{ attempt: 1 }, { attempt: 1 }]);
    expect(await runOf(id)).toMatchObject({ waitingFor: null });
    expect(await endpointOf('landing-zone')).toMatchObject({ heldRuns: 0, heldDeliveries: 0, pause: null });
    expect(await eventsOf('endpoint.paused', 'landing-zone')).toHaveLength(1);
    expect(await eventsOf('endpoint.resumed', 'landing-zone')).toHaveLength(1);
  });

  test('with a time goes on by itself, and that is written down once, as done by nobody', async () => {
    await line.write(line.partnerFolder, { 'pause-two/a.csv': 'a' });
    const until = new Date(Date.now() + 4_000);
    await decide('pauseEndpoint', 'acme-sftp', { until: until.toISOString() });
    const id = await line.start('in-from-acme', { folder: 'pause-two' });
    await expect
      .poll(async () => (await runOf(id)).waitingFor, { timeout: 10_000 })
      .toContain('acme-sftp, paused until');
    expect(await line.wait(id)).toMatchObject({ status: 'succeeded' });
    const { store } = line.api.database;
    await Promise.all([sweep({ store }), sweep({ store })]);
    await sweep({ store });
    const ended = await eventsOf('endpoint.resumed', 'acme-sftp');
    expect(ended.map(({ node }: { node: unknown }) => node)).toEqual([
      {
        principal: null,
        data: { endpoint: 'acme-sftp', reason: 'the time of the pause has come', until: until.toISOString() },
      },
    ]);
    await decide('resumeEndpoint', 'acme-sftp');
    expect(await eventsOf('endpoint.resumed', 'acme-sftp')).toHaveLength(1);
  });

  test('whose time had come is told of before another one begins, also when nobody has looked meanwhile', async () => {
    const until = new Date(Date.now() + 300);
    await decide('pauseEndpoint', 'acme-sftp', { until: until.toISOString() });
    await expect.poll(() => Date.now()).toBeGreaterThan(until.getTime() + 50);
    await decide('pauseEndpoint', 'acme-sftp');
    await decide('resumeEndpoint', 'acme-sftp');
    const ended = await eventsOf('endpoint.resumed', 'acme-sftp');
    expect(ended.map(({ node }: { node: { data: { until?: string } } }) => node.data.until)).toEqual(
      expect.arrayContaining([until.toISOString(), undefined]),
    );
    expect(ended).toHaveLength(3);
  });

  test('gives no attempt back, and takes none', async () => {
    await line.write(line.landingFolder, { 'counted/a.csv': 'a' });
    proxy.cutAfter(10, 'client');
    const failures = async () => (await endpointOf('shaky')).breaker?.failures ?? 0;
    const id = await line.start('out-to-shaky', { folder: 'counted' });
    await expect.poll(failures, { timeout: 20_000, interval: 20 }).toBe(1);
    await decide('pauseEndpoint', 'shaky');
    await untilHeld(id);
    expect(await deliveriesOf(id)).toMatchObject([{ state: 'held', attempt: 1 }]);
    await decide('resumeEndpoint', 'shaky');
    expect(await line.wait(id)).toMatchObject({ status: 'failed', error: { kind: 'unavailable' } });
    // A resumed endpoint counts from none: these are the second and the third attempt.
    expect(await failures()).toBe(2);
    expect(await deliveriesOf(id)).toMatchObject([{ state: 'failed', attempt: 3 }]);
    proxy.heal();
    await decide('resumeEndpoint', 'shaky');
  }, 60_000);

  test('does not hold up the cancellation of a run that waits for it, nor its pause', async () => {
    await line.write(line.partnerFolder, { 'pause-three/a.csv': 'a' });
    await decide('pauseEndpoint', 'landing-zone');
    const id = await line.start('in-from-acme', { folder: 'pause-three' });
    await untilHeld(id);
    await ask('mutation($input: DecideRunInput!) { pauseRun(input: $input) { __typename } }', { input: { id } });
    const status = async () => {
      const { workflowId } = await runOf(id);
      return (await line.api.temporal.workflow.getHandle(workflowId).describe()).searchAttributes.WaybillStatus;
    };
    await expect.poll(status, { timeout: effectiveMs }).toEqual(['paused']);
    await decide('resumeEndpoint', 'landing-zone');
    expect(await deliveriesOf(id)).toMatchObject([{ attempt: 0 }]);
    await decide('pauseEndpoint', 'landing-zone');
    await ask('mutation($input: DecideRunInput!) { resumeRun(input: $input) { __typename } }', { input: { id } });
    await expect.poll(status, { timeout: effectiveMs }).toEqual(['running']);
    const askedAtMs = performance.now();
    await ask('mutation($input: CancelRunInput!) { cancelRun(input: $input) { __typename } }', { input: { id } });
    expect(await line.wait(id)).toMatchObject({ status: 'cancelled' });
    expect(performance.now() - askedAtMs).toBeLessThan(effectiveMs);
    expect(await deliveriesOf(id)).toMatchObject([{ state: 'cancelled' }]);
    expect(await runOf(id)).toMatchObject({ waitingFor: null });
    await decide('resumeEndpoint', 'landing-zone');
  });

  test('stops a copy in its middle, leaves nothing visible, and the copy comes whole afterwards', async () => {
    await line.write(line.partnerFolder, { 'pause-four/large.bin': Buffer.alloc(8_000_000, 7) });
    const id = await line.start('in-from-narrow', { folder: 'pause-four' });
    const bytes = async () =>
      (await ask('query($id: ID!) { run(id: $id) { progress { bytesDone } } }', { id })).run.progress
        .bytesDone as number;
    await expect.poll(bytes, { timeout: 20_000, interval: 50 }).toBeGreaterThan(0);
    await decide('pauseEndpoint', 'narrow');
    await untilHeld(id);
    const there = await readdir(path.join(line.landingFolder, 'pause-four'));
    expect(there.filter((name) => !name.endsWith('.part'))).toEqual([]);
    await decide('resumeEndpoint', 'narrow');
    expect(await line.wait(id)).toMatchObject({ status: 'succeeded', counts: { files: 1, bytes: 8_000_000 } });
  }, 60_000);
});

describe('an endpoint that fails again and again', () => {
  test('is left alone for a while: its runs wait without failing, and go on when it is back', async () => {
    await line.write(line.partnerFolder, { 'shaky-one/a.csv': 'a', 'shaky-two/b.csv': 'b' });
    proxy.cutAfter(10, 'client');
    const first = await line.start('in-from-shaky', { folder: 'shaky-one' });
    await expect
      .poll(async () => (await runOf(first)).waitingFor, { timeout: 20_000, interval: 50 })
      .toContain('shaky, which failed 5 times in a row');
    // It has ten seconds of patience: nothing of them is spent by waiting.
    const second = await line.start('in-from-shaky', { folder: 'shaky-two' });
    await expect
      .poll(async () => (await runOf(second)).waitingFor, { timeout: 20_000, interval: 50 })
      .toContain('shaky');
    expect(await endpointOf('shaky')).toMatchObject({
      breaker: { failures: 5, errorKind: 'unavailable' },
      heldRuns: 2,
    });
    const opened = await eventsOf('endpoint.breaker-opened', 'shaky');
    expect(opened).toHaveLength(1);
    proxy.heal();
    expect(await line.wait(first)).toMatchObject({ status: 'succeeded' });
    expect(await line.wait(second)).toMatchObject({ status: 'succeeded' });
    expect(await endpointOf('shaky')).toMatchObject({ breaker: null, heldRuns: 0 });
    expect(await eventsOf('endpoint.breaker-closed', 'shaky')).toHaveLength(1);
  }, 90_000);
});

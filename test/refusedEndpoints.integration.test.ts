import ssh2 from 'ssh2';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Line, startLine } from './servers/line.ts';

/** What a person is promised: a decision takes effect within so long. A breaker that opens stays so for longer. */
const effectiveMs = 10_000;
/** Failures in a row after which work is held. */
const failuresToHold = 5;
const sharedSecret = 'acme-key';
const otherHostKey = `SHA256:${'A'.repeat(43)}`;

let line: Line;
beforeAll(async () => {
  line = await startLine();
  await line.apply(line.endpoints(), { secrets: line.endpointSecrets() });
});
afterAll(() => line?.stop());

interface Refusal {
  name: string;
  trusted(): string;
  privateKey(): string;
  says(): string[];
  mend(): Promise<unknown>;
}

const acceptHostKey = (name: string) =>
  ask('acceptHostKey', 'AcceptHostKeyInput', {
    name,
    fingerprint: line.partner.hostKeyFingerprint,
    reason: 'ACME has told us by phone',
  });

const refusals: Array<[string, Refusal]> = [
  [
    'shows another host key is refused with both, and goes on when the new one is accepted',
    {
      name: 'changed-host-key',
      trusted: () => otherHostKey,
      privateKey: () => line.partner.privateKey,
      says: () => [otherHostKey, line.partner.hostKeyFingerprint, 'Ask the owner of the server'],
      mend: () => acceptHostKey('changed-host-key'),
    },
  ],
  [
    'no longer takes the key goes on when it is given another one',
    {
      name: 'changed-credential',
      trusted: () => line.partner.hostKeyFingerprint,
      privateKey: () => ssh2.utils.generateKeyPairSync('ed25519').private,
      says: () => ['refuses the sign-in'],
      mend: () => configure('changed-credential', line.partner.hostKeyFingerprint, line.partner.privateKey),
    },
  ],
  [
    'no longer takes the key that is stored for several endpoints goes on when that is set anew',
    {
      name: 'changed-secret',
      trusted: () => line.partner.hostKeyFingerprint,
      privateKey: () => ssh2.utils.generateKeyPairSync('ed25519').private,
      says: () => ['refuses the sign-in'],
      mend: () => setSecret(line.partner.privateKey),
    },
  ],
];

test.each(refusals)(
  'a run at a server that %s: without another attempt, and at once',
  async (_, { name, trusted, privateKey, says, mend }) => {
    await line.write(line.partnerFolder, { [`${name}/a.csv`]: name });
    await configure(name, trusted(), privateKey());
    const refused = await Promise.all(Array.from({ length: failuresToHold }, () => line.run(`in-from-${name}`)));
    for (const { status, error, deliveries } of refused) {
      expect(status).toBe('failed');
      expect(error).toMatchObject({ kind: 'unauthenticated', step: 'copy' });
      for (const words of says()) expect(error!.message).toContain(words);
      expect(deliveries.edges).toEqual([]);
    }
    const held = await line.start(`in-from-${name}`);
    const waitingFor = async () =>
      (await graphql('query($id: ID!) { run(id: $id) { waitingFor } }', { id: held })).run.waitingFor;
    await expect.poll(waitingFor, { timeout: 10_000, interval: 50 }).toContain(`${name}, which failed`);
    for (const words of says()) expect(await waitingFor()).toContain(words);

    await mend();
    const mendedAtMs = performance.now();
    expect(await line.wait(held)).toMatchObject({ status: 'succeeded', counts: { files: 1 } });
    expect(performance.now() - mendedAtMs).toBeLessThan(effectiveMs);
    expect(
      (await graphql('query($name: String!) { endpoint(name: $name) { breaker { failures } } }', { name })).endpoint,
    ).toEqual({ breaker: null });
    for (const type of ['endpoint.breaker-opened', 'endpoint.breaker-closed'])
      expect(await eventsOf(type, name), type).toHaveLength(1);
  },
  60_000,
);

const setSecret = (value: string) => ask('setSecret', 'SetSecretInput', { name: sharedSecret, value });

/** The key is the endpoint's own, or that of several. */
async function configure(name: string, hostKey: string, privateKey: string): Promise<void> {
  const isShared = name === 'changed-secret';
  if (isShared) await setSecret(privateKey);
  const own = [{ kind: 'endpoint', name, secret: 'privateKey', value: privateKey }];
  const { host, port, username } = line.partner;
  const text = `endpoint: ${name}
apiVersion: waybill/v1
connector: sftp
config: { host: ${host}, port: ${port}, username: ${username}, root: ${line.partnerFolder}, hostKeys: ["${hostKey}"] }
secrets: { privateKey: ${isShared ? `{ secret: ${sharedSecret} }` : '{ file: ./key }'} }
---
pipeline: in-from-${name}
apiVersion: waybill/v1
endpoints: { partner: ${name}, landing: landing-zone }
steps:
  - id: copy
    use: transfer.copy@1
    with: { from: "partner:/${name}/*", to: "landing:/${name}/" }
`;
  await line.apply(text, { secrets: isShared ? [] : own });
}

async function graphql(query: string, variables: Record<string, unknown>) {
  const { body } = await line.api.graphql(line.api.keys.a, query, variables);
  expect(body.errors, JSON.stringify(body.errors)).toBeUndefined();
  return body.data;
}

async function ask(mutation: string, type: string, input: Record<string, unknown>): Promise<void> {
  const query = `mutation($input: ${type}!) { answer: ${mutation}(input: $input) { __typename ... on UserError { message } } }`;
  const { answer } = await graphql(query, { input });
  expect(answer.message, JSON.stringify(answer)).toBeUndefined();
}

async function eventsOf(type: string, endpoint: string): Promise<unknown[]> {
  const query = 'query($type: String!) { auditEvents(first: 100, type: $type) { edges { node { data } } } }';
  const { auditEvents } = await graphql(query, { type });
  return auditEvents.edges.filter(
    ({ node }: { node: { data: { endpoint: string } } }) => node.data.endpoint === endpoint,
  );
}

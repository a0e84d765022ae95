import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Line, startLine } from './servers/line.ts';

let line: Line;
beforeAll(async () => {
  line = await startLine();
});
afterAll(() => line?.stop());

test('a pipeline delivers to a list of targets, counts each delivery, and names the targets of its transfer', async () => {
  await line.write(path.join(line.partnerFolder, 'many'), { 'a.csv': 'a', 'b.csv': 'bb' });
  const pipeline = `pipeline: to-many
apiVersion: waybill/v1
endpoints: { partner: acme-sftp, landing: landing-zone }
steps:
  - id: copy
    use: transfer.copy@1
    with:
      from: "partner:/many/*.csv"
      to: ["landing:/one/", { endpoint: landing, path: "/\${{ 'two' }}/" }, { endpoint: partner, path: /back/, required: false }]
      then: { move: /many-done/ }
outputs: { files: steps.copy.files }
`;
  await line.apply(line.endpoints() + pipeline, { secrets: line.endpointSecrets() });
  const run = await line.run('to-many');
  expect(run).toMatchObject({
    status: 'succeeded',
    error: null,
    counts: { files: 6, failed: 0 },
    outputs: { files: 6 },
  });
  for (const folder of ['back', 'many-done'])
    expect((await readdir(path.join(line.partnerFolder, folder))).sort()).toEqual(['a.csv', 'b.csv']);
  expect(await readdir(path.join(line.partnerFolder, 'many'))).toEqual([]);
  const query = '{ transfers { edges { node { targetEndpoint targetEndpoints } } } }';
  const { body } = await line.api.graphql(line.api.keys.a, query);
  expect(body.data.transfers.edges).toEqual([
    { node: { targetEndpoint: 'landing-zone', targetEndpoints: ['landing-zone', 'acme-sftp'] } },
  ]);
});

test('a run is partial when optional targets have not got the files, and failed when a required one has not', async () => {
  await line.write(path.join(line.partnerFolder, 'some'), { 'a.csv': 'a', 'b.csv': 'b' });
  await line.write(path.join(line.landingFolder, 'taken'), { 'a.csv': 'of others' });
  const { host, username, hostKeyFingerprint, privateKey } = line.partner;
  // Nobody listens there.
  const dead = `endpoint: dead
apiVersion: waybill/v1
connector: sftp
config: { host: ${host}, port: 1, username: ${username}, hostKeys: ["${hostKeyFingerprint}"] }
secrets: { privateKey: { file: ./key } }
---
`;
  const pipeline = (name: string, required: string) => `pipeline: ${name}
apiVersion: waybill/v1
endpoints: { partner: acme-sftp, landing: landing-zone, dead: dead }
steps:
  - id: copy
    use: transfer.copy@1
    with:
      from: "partner:/some/*.csv"
      to: ["landing:/${required}/", { endpoint: dead, path: /x/, required: false }]
      once: off
    retry: { attempts: 1 }
---
`;
  await line.apply(line.endpoints() + dead + pipeline('some-optional', 'free') + pipeline('some-required', 'taken'), {
    secrets: [...line.endpointSecrets(), { kind: 'endpoint', name: 'dead', secret: 'privateKey', value: privateKey }],
  });
  const partial = await line.run('some-optional');
  expect(partial).toMatchObject({ status: 'partial', error: null, counts: { files: 2, failed: 2 } });
  const told = partial.deliveries.edges.filter(({ node }) => node.state === 'failed');
  expect(told.map(({ node }) => node.error?.kind)).toEqual(['unavailable', 'unavailable']);
  const types = partial.auditEvents.edges.map(({ node }) => node.type);
  expect(types.filter((type) => type === 'delivery.failed')).toHaveLength(2);
  expect(types).toContain('transfer.completed');

  const failed = await line.run('some-required');
  expect(failed).toMatchObject({ status: 'failed', error: { kind: 'exists' }, counts: { files: 1, failed: 3 } });
  // Those of the optional target are not among them.
  expect(failed.error?.message).toMatch(/^1 of 4 files failed/);
});

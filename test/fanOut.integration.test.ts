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

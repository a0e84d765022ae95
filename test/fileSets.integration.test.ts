import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Line, startLine } from './servers/line.ts';

let line: Line;
beforeAll(async () => {
  line = await startLine();
});
afterAll(() => line?.stop());

async function runOver(folder: string, files: Record<string, string>, name: string, rest: string) {
  await line.write(path.join(line.partnerFolder, folder), files);
  const pipeline = `pipeline: ${name}\napiVersion: waybill/v1\nendpoints: { partner: acme-sftp, landing: landing-zone }\n${rest}`;
  await line.apply(line.endpoints() + pipeline, { secrets: line.endpointSecrets() });
  return line.run(name);
}

describe('a loop over files that vanish after the listing', () => {
  const files = { '1.csv': '1', '2.csv': '22', '3.csv': '333', '4.csv': '4444', '5.csv': '55555' };
  const steps = (folder: string, tolerate: string) => `steps:
  - id: list
    use: files.list@1
    with: { from: "partner:/${folder}/*.csv", sort: name }
  - { use: files.delete@1, with: { at: "partner:/${folder}/2.csv" } }
  - { use: files.delete@1, with: { at: "partner:/${folder}/4.csv" } }
  - id: each
    forEach: steps.list.files
    as: file
    maxParallel: 2
    ${tolerate}
    steps:
      - id: copy
        use: transfer.copy@1
        with: { from: { endpoint: partner, path: "\${{ file.path }}" }, to: "landing:/${folder}/" }
outputs:
  count: steps.each.count
  failed: steps.each.failed.count
  missing: steps.each.failed.first(5)
`;

  test('counts them within what is tolerated, tells which, and delivers the others', async () => {
    const run = await runOver('vanish-some', files, 'vanish-some', steps('vanish-some', 'tolerate: 40%'));
    expect(run).toMatchObject({ status: 'partial', error: null, counts: { files: 3 } });
    expect(run.outputs).toMatchObject({ count: 5, failed: 2 });
    const missing = run.outputs!.missing as Array<{ item: { path: string }; error: { kind: string; path: string } }>;
    expect(missing.map(({ item, error }) => [item.path, error.kind, error.path])).toEqual([
      ['/vanish-some/2.csv', 'not-found', '/vanish-some/2.csv'],
      ['/vanish-some/4.csv', 'not-found', '/vanish-some/4.csv'],
    ]);
  });

  test('fails with the number and the first path when more are gone than tolerated', async () => {
    const run = await runOver('vanish-more', files, 'vanish-more', steps('vanish-more', 'tolerate: 1'));
    expect(run).toMatchObject({
      status: 'failed',
      counts: { files: 3 },
      error: { kind: 'not-found', message: expect.stringContaining('2 of 5 items failed'), path: '/vanish-more/2.csv' },
    });
  });
});

describe('a listing in order', () => {
  test('gives its first rows to expressions, and is walked in that order', async () => {
    const run = await runOver(
      'sorted',
      { 'small.csv': 'x', 'large.csv': 'xxx', 'medium.csv': 'xx' },
      'sorted-listing',
      `steps:
  - id: list
    use: files.list@1
    with: { from: "partner:/sorted/*", sort: -size }
  - id: each
    forEach: steps.list.files
    as: file
    maxParallel: 1
    steps:
      - use: audit.write@1
        with: { event: sorted.seen, data: { name: "\${{ file.name }}" } }
outputs:
  largest: steps.list.files.first(2).map(file, file.name)
  bytes: steps.list.files.bytes
`,
    );
    expect(run).toMatchObject({ status: 'succeeded', outputs: { largest: ['large.csv', 'medium.csv'], bytes: 6 } });
    const seen = run.auditEvents.edges
      .filter(({ node }) => node.type === 'sorted.seen')
      .map(({ node }) => node.data.name);
    expect(seen).toEqual(['large.csv', 'medium.csv', 'small.csv']);
  });
});

describe('a listing whose condition cannot be decided for a file', () => {
  test('fails its step and names the file', async () => {
    const files = { 'good-x.csv': 'x', 'bad.csv': 'x' };
    const run = await runOver(
      'undecided',
      files,
      'undecided-listing',
      `steps:
  - id: list
    use: files.list@1
    with: { from: "partner:/undecided/*", where: "file.name.split('-')[1] == 'x.csv'" }
`,
    );
    expect(run).toMatchObject({
      status: 'failed',
      error: { kind: 'invalid', step: 'list', path: '/undecided/bad.csv' },
    });
  });
});

import { rm } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type EndedRun, type Line, startLine } from './servers/line.ts';

let line: Line;
beforeAll(async () => {
  line = await startLine();
  await line.apply(line.endpoints(), { secrets: line.endpointSecrets() });
});
afterAll(() => line?.stop());

/** Publishes a pipeline of these blocks; `apply` throws with what is wrong. */
async function publish(name: string, body: string): Promise<void> {
  const endpoints = body.includes('partner:') ? 'endpoints: { partner: acme-sftp, landing: landing-zone }\n' : '';
  await line.apply(`pipeline: ${name}\napiVersion: waybill/v1\n${endpoints}${body.trimStart()}`);
}

function eventsOf(run: EndedRun, family: string): unknown[] {
  const nodes = run.auditEvents.edges.map(({ node }) => node);
  return nodes.filter(({ type }) => type.startsWith(`${family}.`)).map(({ type, data }) => [type, data]);
}

describe('a loop over files of which some vanish after they were listed', () => {
  const copies = (tolerate: string) => `
steps:
  - { id: list, use: files.list@1, with: { from: "partner:/vanish/*.csv" } }
  - { use: files.delete@1, with: { at: "partner:/vanish/b.csv" } }
  - id: each
    forEach: steps.list.files
    as: file
    ${tolerate}
    steps:
      - { id: copy, use: transfer.copy@1, with: { from: { endpoint: partner, path: "\${{ file.path }}" }, to: "landing:/vanish/" } }
    onError:
      - { use: audit.write@1, with: { event: vanish.told, data: { path: "\${{ file.path }}", kind: "\${{ error.kind }}" } } }
outputs: { ok: steps.each.succeeded.count, bad: steps.each.failed.count }
`;
  const bring = () => line.write(line.partnerFolder, { 'vanish/a.csv': 'a', 'vanish/b.csv': 'b', 'vanish/c.csv': 'c' });

  test('fails by the name of the file, and brings the others', async () => {
    await bring();
    await publish('vanish', copies(''));
    const run = await line.run('vanish');
    expect(run).toMatchObject({ status: 'failed', error: { kind: 'not-found', step: 'each' }, counts: { files: 2 } });
    expect(run.error?.message).toContain('1 of 3 items failed');
    expect(run.error?.message).toContain('/vanish/b.csv');
    expect(eventsOf(run, 'vanish')).toEqual([['vanish.told', { path: '/vanish/b.csv', kind: 'not-found' }]]);
  });

  test('is partial when that is tolerated', async () => {
    await rm(path.join(line.landingFolder, 'vanish'), { recursive: true, force: true });
    await bring();
    await publish('vanish-tolerated', copies('tolerate: 34%'));
    expect(await line.run('vanish-tolerated')).toMatchObject({
      status: 'partial',
      error: null,
      outputs: { ok: 2, bad: 1 },
    });
  });
});

describe('a tolerance', () => {
  const missing = (tolerate: string) => `
inputs: { names: { type: list } }
steps:
  - id: each
    forEach: inputs.names
    as: name
    tolerate: ${tolerate}
    steps:
      - { use: files.move@1, with: { from: { endpoint: partner, path: "/nowhere/\${{ name }}" }, to: "/done/" } }
# partner: and landing: are its endpoints
`;
  test.each([
    ['0%', 'failed'],
    ['"100%"', 'partial'],
  ])('of %s makes a run whose items all fail %s', async (tolerate, status) => {
    const name = `tolerate-${tolerate.replace(/\D/g, '')}`;
    await publish(name, missing(tolerate));
    const run = await line.run(name, { names: ['a', 'b'] });
    expect(run.status).toBe(status);
    if (status === 'failed') expect(run.error?.message).toContain('2 of 2 items failed');
  });

  test.each(['0%', '"100%"'])('of %s lets a run without items succeed', async (tolerate) => {
    const name = `tolerate-${tolerate.replace(/\D/g, '')}`;
    await publish(name, missing(tolerate));
    expect((await line.run(name, { names: [] })).status).toBe('succeeded');
  });
});

describe('a run', () => {
  test('whose onError fails itself tells the first failure, and does its finally', async () => {
    await publish(
      'onerror-fails',
      `
steps:
  - use: files.move@1
    with: { from: "partner:/nowhere/first.csv", to: /done/ }
    onError: [ { use: files.move@1, with: { from: "partner:/nowhere/second.csv", to: /done/ } } ]
finally: [ { use: audit.write@1, with: { event: order.ended, data: { status: "\${{ run.status }}" } } } ]
`,
    );
    const run = await line.run('onerror-fails');
    expect(run).toMatchObject({ status: 'failed', error: { kind: 'not-found' } });
    expect(run.error?.message).toContain('first.csv');
    expect(eventsOf(run, 'order')).toEqual([['order.ended', { status: 'failed' }]]);
  });

  test('of which only finally fails is failed, and says that it was finally', async () => {
    await publish(
      'finally-fails',
      `
steps: [ { use: audit.write@1, with: { event: order.done } } ]
finally: [ { use: files.move@1, with: { from: "partner:/nowhere/late.csv", to: /done/ } } ]
`,
    );
    const run = await line.run('finally-fails');
    expect(run).toMatchObject({ status: 'failed', error: { kind: 'not-found' } });
    expect(run.error?.message).toMatch(/finally.*late\.csv/);
  });

  test('that is cancelled during finally does the rest of it', async () => {
    await publish(
      'cancel-in-finally',
      `
steps: [ { use: audit.write@1, with: { event: order.done } } ]
finally:
  - { use: audit.write@1, with: { event: order.ending } }
  - { wait: 2s }
  - { use: audit.write@1, with: { event: order.ended } }
`,
    );
    const id = await line.start('cancel-in-finally');
    const written = () => line.api.database.asOwner(`select 1 from audit_event where type = 'order.ending'`);
    await expect.poll(written, { timeout: 20_000 }).toHaveLength(1);
    await line.api.graphql(line.api.keys.a, 'mutation($id: ID!) { cancelRun(input: { id: $id }) { __typename } }', {
      id,
    });
    const run = await line.wait(id);
    expect(run.status).toBe('succeeded');
    expect(eventsOf(run, 'order').map((event) => (event as [string])[0])).toContain('order.ended');
  });

  test('that waits until a time in the past goes on at once', async () => {
    await publish(
      'wait-past',
      `
inputs: { until: { type: string } }
steps: [ { id: past, wait: "\${{ inputs.until }}" } ]
outputs: { until: steps.past.until }
`,
    );
    const startedAtMs = Date.now();
    const run = await line.run('wait-past', { until: '2020-01-01T00:00:00+01:00' });
    expect(run).toMatchObject({ status: 'succeeded', outputs: { until: '2019-12-31T23:00:00.000Z' } });
    expect(Date.now() - startedAtMs).toBeLessThan(20_000);
    const wrong = await line.run('wait-past', { until: 'tomorrow' });
    expect(wrong).toMatchObject({ status: 'failed', error: { kind: 'invalid', step: 'past' } });
    expect(wrong.error?.message).toContain('"tomorrow"');
  });

  test('with 10 MB of inputs is refused with the limit, and nothing starts', async () => {
    await publish('inputs-large', 'inputs: { text: { type: string } }\nsteps: [ { wait: 1ms } ]\n');
    await expect(line.start('inputs-large', { text: 'x'.repeat(10 * 1024 * 1024) })).rejects.toThrow(
      /(at most|larger than) \d+/,
    );
    await expect(line.start('inputs-large', { text: 'x'.repeat(300 * 1024) })).rejects.toThrow(/262144/);
  });

  test('over 10,000 rows is refused with the limit; over rows by rows an expression says which limit it met', async () => {
    await publish(
      'rows-many',
      `
inputs: { rows: { type: list } }
steps:
  - { id: few, use: audit.write@1, with: { event: rows.counted, data: { big: "\${{ inputs.rows.filter(row, row > 990).size() }}" } } }
  - { id: square, use: audit.write@1, with: { event: rows.squared, data: { all: "\${{ inputs.rows.all(left, inputs.rows.all(right, left + right >= 0)) }}" } } }
`,
    );
    const rows = (count: number) => Array.from({ length: count }, (_, index) => index);
    await expect(line.start('rows-many', { rows: rows(10_000) })).rejects.toThrow(/10000 elements .* 1000 is the most/);
    const run = await line.run('rows-many', { rows: rows(1_000) });
    expect(eventsOf(run, 'rows')).toEqual([['rows.counted', { big: 9 }]]);
    expect(run).toMatchObject({ status: 'failed', error: { kind: 'invalid', step: 'square' } });
    expect(run.error?.message).toMatch(/more than [\d,]+/);
  });
});

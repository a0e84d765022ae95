import { describe, expect, test } from 'vitest';
import { context, ended, everyWay, failure, plan, testPort, told, walkAll } from '../test/walks.ts';

describe('parallel', () => {
  const text = `
steps:
  - id: both
    parallel:
      - { use: files.delete@1, with: { at: "partner:/a" } }
      - steps:
          - { id: second, use: files.delete@1, with: { at: "partner:/b" } }
          - { use: audit.write@1, with: { event: b.done } }
      - { use: files.delete@1, with: { at: "partner:/c" } }
  - { use: audit.write@1, with: { event: all.done, data: { path: "\${{ steps.second.path }}" } } }
`;

  test('runs its branches, and later steps see what was done in them', async () => {
    const { walk, port } = await everyWay(plan(text));
    expect(walk).toMatchObject({ status: 'succeeded' });
    expect(told(port)).toEqual(['/a', '/b', '/c', 'b.done', 'all.done {"path":"/b"}']);
  });

  test('lets the other branches go on when one fails, and fails with the first failure in the order of the file', async () => {
    const { walk, port } = await everyWay(plan(text), { fails: { '/b': 'forbidden', '/c': 'not-found' } });
    expect(walk).toMatchObject({ status: 'failed', failure: { kind: 'forbidden' } });
    expect(told(port)).toEqual(['/a', '/b', '/c']);
  });

  test('with failFast cancels what still runs', async () => {
    const failFast = text
      .replace('id: both', 'id: both\n    failFast: true')
      .replace('"partner:/a"', '"partner:/slow"');
    const port = testPort({ fails: { '/b': 'forbidden' } });
    const { status, failure } = ended(await walkAll(plan(failFast), port));
    expect(status).toBe('failed');
    expect(failure?.kind).toBe('forbidden');
    expect(told(port)).not.toContain('b.done');
    expect(port.now()).toBeLessThan(port.slowUntilMs);
  });

  test('runs no more branches at a time than it may', async () => {
    const port = testPort({});
    await walkAll(plan(text.replace('id: both', 'id: both\n    maxParallel: 1')), port);
    expect(told(port)).toEqual(['/a', '/b', 'b.done', '/c', 'all.done {"path":"/b"}']);
  });
});

describe('a loop', () => {
  const text = (more: string) => `
inputs: { names: { type: list } }
steps:
  - id: each
    forEach: inputs.names
    as: name
    ${more}
    steps:
      - { use: files.delete@1, with: { at: "partner:/\${{ name }}" } }
    onError:
      - { use: audit.write@1, with: { event: item.failed, data: { name: "\${{ name }}", kind: "\${{ error.kind }}" } } }
outputs: { ok: steps.each.succeeded.count, failed: steps.each.failed.count, first: "steps.each.failed.first(1).map(f, f.item)" }
`;
  const fails = { '/b': 'not-found', '/d': 'forbidden' } as const;

  test('runs its onError for each item that failed, with the item', async () => {
    const { port } = await everyWay(plan(text('maxParallel: 2')), { fails });
    expect(
      told(port)
        .filter((call) => call.startsWith('item.failed'))
        .sort(),
    ).toEqual(['item.failed {"name":"b","kind":"not-found"}', 'item.failed {"name":"d","kind":"forbidden"}']);
  });

  test.each([
    ['tolerate: 2', 'partial'],
    ['tolerate: 1', 'failed'],
    ['tolerate: 50%', 'partial'],
    ['tolerate: 49.9%', 'failed'],
    ['tolerate: 100%', 'partial'],
    ['tolerate: 0%', 'failed'],
  ])('with %s and 2 of 4 items failed ends as %s', async (tolerate, status) => {
    const { walk } = await everyWay(plan(text(tolerate)), { fails });
    expect(walk.status).toBe(status);
    if (status === 'partial') expect(walk.outputs).toEqual({ ok: 2, failed: 2, first: ['b'] });
    else expect(walk.failure?.message).toMatch(/^2 of 4 items failed, .* are tolerated; the first: /);
  });

  test('that tolerates everything is partial when every item failed', async () => {
    const all = { '/a': 'exists', '/b': 'exists', '/c': 'exists', '/d': 'exists' } as const;
    const { walk } = await everyWay(plan(text('tolerate: 100%')), { fails: all });
    expect(walk).toMatchObject({ status: 'partial', outputs: { ok: 0, failed: 4 } });
  });

  test('with failFast takes no more items once too many have failed', async () => {
    const { port, walk } = await everyWay(plan(text('maxParallel: 1\n    failFast: true')), { fails });
    expect(told(port)).toEqual(['/a', '/b', 'item.failed {"name":"b","kind":"not-found"}']);
    expect(walk).toMatchObject({ status: 'failed', failure: { kind: 'not-found' } });
  });

  test('in a loop does every item of every item', async () => {
    const nested = `
inputs: { names: { type: list } }
steps:
  - id: outer
    forEach: inputs.names
    as: left
    tolerate: 1
    steps:
      - id: inner
        forEach: inputs.names
        as: right
        tolerate: 25%
        steps: [ { use: files.delete@1, with: { at: "partner:/\${{ left }}\${{ right }}" } } ]
      - { use: audit.write@1, with: { event: row.done, data: { ok: "\${{ steps.inner.succeeded.count }}" } } }
`;
    const { port, walk } = await everyWay(plan(nested), {
      fails: { '/ab': 'exists', '/ca': 'exists', '/cb': 'exists' },
    });
    expect(walk).toMatchObject({ status: 'partial' });
    expect(told(port).filter((call) => call.startsWith('/'))).toHaveLength(16);
    expect(
      told(port)
        .filter((call) => call.startsWith('row.done'))
        .sort(),
    ).toEqual(['row.done {"ok":3}', 'row.done {"ok":4}', 'row.done {"ok":4}']);
  });
});

describe('a copy that tolerates failed files', () => {
  const text = (tolerate: string) => `
steps:
  - { id: copy, use: transfer.copy@1, tolerate: ${tolerate}, with: { from: "partner:/out/*", to: "partner:/in/" } }
  - { use: audit.write@1, with: { event: copy.done, data: { failed: "\${{ steps.copy.failed }}" } } }
`;
  const answers = {
    'transfer.plan': () => ({ transferId: 't', files: 10, bytes: 100, batches: 2 }),
    'transfer.batch': () => ({
      files: 4,
      bytes: 40,
      skipped: 0,
      failed: 1,
      firstFailure: failure('exists', 'it is there'),
    }),
    'transfer.finish': () => ({
      files: 8,
      bytes: 80,
      skipped: 0,
      failed: 2,
      firstFailure: failure('exists', 'it is there'),
    }),
  };

  test('goes on and makes the run partial', async () => {
    const { port, walk } = await everyWay(plan(text('20%')), { answers });
    expect(walk.status).toBe('partial');
    expect(told(port)).toContain('copy.done {"failed":2}');
  });

  test('fails when more failed', async () => {
    const { walk } = await everyWay(plan(text('1')), { answers });
    expect(walk.failure?.message).toBe('2 of 10 files failed, 1 are tolerated; the first: it is there');
  });
});

describe('a wait', () => {
  const wait = (what: string) =>
    plan(`
inputs: { names: { type: list }, cutoff: { type: string, default: "2026-11-22T09:00:00Z" } }
steps:
  - ${what}
  - { use: audit.write@1, with: { event: wait.over } }
`);

  test.each([
    ['wait: 2h', 2 * 3600],
    ['wait: "2026-11-22T08:30:00+01:00"', 1800],
    ['wait: "${{ inputs.cutoff }}"', 2 * 3600],
    ['wait: { until: inputs.cutoff }', 2 * 3600],
    ['wait: { until: "timestamp(inputs.cutoff) + duration(\'1h\')" }', 3 * 3600],
  ])('%s lasts %i s', async (text, seconds) => {
    const port = testPort({ inputs: { cutoff: '2026-11-22T09:00:00Z' } });
    const beganMs = port.now();
    await walkAll(wait(text), port, { ...context, inputs: { names: [], cutoff: '2026-11-22T09:00:00Z' } });
    expect(Math.round((port.now() - beganMs) / 1000)).toBe(seconds);
    expect(told(port)).toEqual(['wait.over']);
  });

  test('until a time in the past goes on at once', async () => {
    const port = testPort({});
    const beganMs = port.now();
    const walk = await walkAll(wait('wait: "2020-01-01T00:00:00Z"'), port);
    expect(port.now() - beganMs).toBeLessThan(1000);
    expect(walk).toMatchObject({ status: 'succeeded' });
  });

  test('until what is no time fails with a word that shows one', async () => {
    const walk = await walkAll(wait('wait: "${{ inputs.cutoff }}"'), testPort({}), {
      ...context,
      inputs: { names: [], cutoff: 'tomorrow' },
    });
    expect(ended(walk).failure).toMatchObject({
      kind: 'invalid',
      message: '"tomorrow" is no duration (30s, 5m, 2h, 7d) and no time with its zone (2026-11-22T18:00:00Z)',
    });
  });

  const poll = (deadline: string) => `
steps:
  - id: ready
    wait:
      until: steps.probe.found
      every: 1m
      deadline: ${deadline}
      steps: [ { id: probe, use: files.stat@1, with: { at: "partner:/flag" } } ]
  - { use: audit.write@1, with: { event: flag.seen, data: { polls: "\${{ steps.ready.polls }}", found: "\${{ steps.probe.found }}" } } }
`;
  const stat = () => {
    let looks = 0;
    return { 'files.stat@1': () => ({ found: ++looks >= 4 }) };
  };

  test('for a condition looks until it holds', async () => {
    const { port } = await everyWay(plan(poll('1h')), { answers: stat });
    expect(told(port)).toEqual(['/flag', '/flag', '/flag', '/flag', 'flag.seen {"polls":4,"found":true}']);
  });

  test('for a condition gives up at its deadline', async () => {
    const { failure: late } = ended(await walkAll(plan(poll('150s')), testPort({ answers: stat })));
    expect(late).toMatchObject({
      kind: 'timeout',
      message: 'steps.probe.found did not hold within 150 s (looked 3 times)',
    });
  });
});

import { describe, expect, test } from 'vitest';
import { check } from '../language/check.ts';
import type { ErrorKind } from '../schema/errors.ts';
import type { Failure, Json, Plan } from '../schema/plan.ts';
import { type VirtualPort, type VirtualPortOptions, virtualPort } from '../test/property/virtualPort.ts';
import { interpret, type RunContext, type Walk } from './interpreter.ts';
import { StepFailed } from './port.ts';
import { newRunState, type RunState } from './state.ts';

const context: RunContext = {
  tenantId: 'tenant',
  runId: 'run',
  inputs: { names: ['a', 'b', 'c', 'd'] },
  run: { id: 'run', pipeline: 'sample', version: 'v', date: '2026-11-22', startedAt: '2026-11-22T07:00:00.000Z' },
};

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

describe('what a failure undoes', () => {
  const text = `
steps:
  - { id: one, use: files.delete@1, with: { at: "partner:/one" }, compensate: [ { use: audit.write@1, with: { event: undo.one } } ] }
  - if: "true"
    steps:
      - { id: two, use: files.delete@1, with: { at: "partner:/two" }, compensate: [ { use: files.delete@1, with: { at: "partner:/undo" } }, { use: audit.write@1, with: { event: undo.two } } ] }
      - { use: files.delete@1, if: "false", with: { at: "partner:/never" }, compensate: [ { use: audit.write@1, with: { event: undo.never } } ] }
  - use: files.delete@1
    with: { at: "partner:/three" }
    compensate: [ { use: audit.write@1, with: { event: undo.three } } ]
    onError: [ { use: audit.write@1, with: { event: three.failed } } ]
onError: [ { use: audit.write@1, with: { event: all.broken, data: { kind: "\${{ error.kind }}" } } } ]
finally: [ { use: audit.write@1, with: { event: all.over } } ]
`;

  test('is what was done, last first, between the onError of the step and that of the pipeline', async () => {
    const { port } = await everyWay(plan(text), { fails: { '/three': 'exists' } });
    expect(told(port)).toEqual([
      '/one',
      '/two',
      '/three',
      'three.failed',
      '/undo',
      'undo.two',
      'undo.one',
      'all.broken {"kind":"exists"}',
      'all.over',
    ]);
  });

  test('goes on when undoing fails, and the first failure is told', async () => {
    const { port, walk } = await everyWay(plan(text), { fails: { '/three': 'exists', '/undo': 'forbidden' } });
    expect(told(port).slice(4)).toEqual(['/undo', 'undo.one', 'all.broken {"kind":"exists"}', 'all.over']);
    expect(walk.failure?.kind).toBe('exists');
  });

  test('is undone for a cancellation too, without any onError', async () => {
    const port = testPort({ cancelAfterCalls: 3 });
    const walk = await walkAll(plan(text), port);
    expect(told(port)).toEqual(['/one', '/two', '/three', '/undo', 'undo.two', 'undo.one', 'all.over']);
    expect(walk).toMatchObject({ status: 'cancelled' });
  });

  test('stays within the item of a loop', async () => {
    const items = `
inputs: { names: { type: list } }
steps:
  - id: each
    forEach: inputs.names
    as: name
    tolerate: 1
    steps:
      - { use: files.delete@1, with: { at: "partner:/\${{ name }}" }, compensate: [ { use: audit.write@1, with: { event: item.undone, data: { name: "\${{ name }}" } } } ] }
      - { use: files.delete@1, with: { at: "partner:/x\${{ name }}" } }
`;
    const { port } = await everyWay(plan(items), { fails: { '/xc': 'exists' } });
    expect(told(port).filter((call) => call.startsWith('item'))).toEqual(['item.undone {"name":"c"}']);
  });
});

describe('the end of a run', () => {
  test('is failed when only finally failed, and says so', async () => {
    const text = `
steps: [ { use: files.delete@1, with: { at: "partner:/a" } } ]
finally: [ { use: files.delete@1, with: { at: "partner:/lock" } } ]
`;
    const { walk } = await everyWay(plan(text), { fails: { '/lock': 'forbidden' } });
    expect(walk).toMatchObject({ status: 'failed', failure: { message: 'in finally: /lock failed' } });
  });

  test('is not changed by a cancellation during finally, and finally is done whole', async () => {
    const text = `
steps: [ { use: files.delete@1, with: { at: "partner:/a" } } ]
finally:
  - { use: audit.write@1, with: { event: first.last } }
  - { use: audit.write@1, with: { event: second.last, data: { status: "\${{ run.status }}" } } }
`;
    const port = testPort({ cancelAfterCalls: 2 });
    const walk = await walkAll(plan(text), port);
    expect(told(port)).toEqual(['/a', 'first.last', 'second.last {"status":"succeeded"}']);
    expect(walk).toMatchObject({ status: 'succeeded' });
  });

  test('sees its vars, filled once', async () => {
    const text = `
inputs: { names: { type: list } }
vars: { folder: "/in/\${{ run.date }}", depth: 3 }
steps: [ { use: audit.write@1, with: { event: vars.seen, data: { folder: "\${{ vars.folder }}", depth: "\${{ vars.depth + 1 }}" } } } ]
`;
    const { port } = await everyWay(plan(text));
    expect(told(port)).toEqual(['vars.seen {"folder":"/in/2026-11-22","depth":4}']);
  });

  test('runs of the pipeline’s onError only what fits the error', async () => {
    const text = `
steps: [ { use: files.delete@1, with: { at: "partner:/a" } } ]
onError:
  - { when: error.kind == "not-found", use: audit.write@1, with: { event: item.gone } }
  - { when: 'error.kind in ["forbidden", "unauthenticated"]', use: audit.write@1, with: { event: no.right } }
`;
    const { port } = await everyWay(plan(text), { fails: { '/a': 'forbidden' } });
    expect(told(port)).toEqual(['/a', 'no.right']);
  });
});

interface World {
  /** By path: how deleting it fails. `/slow` takes an hour. */
  fails?: Partial<Record<string, ErrorKind>>;
  answers?: Record<string, () => unknown> | (() => Record<string, () => unknown>);
  inputs?: Record<string, Json>;
  cancelAfterCalls?: number;
  suspendAt?: VirtualPortOptions['suspendAt'];
}

type TestPort = VirtualPort & { slowUntilMs: number };

function testPort({ fails = {}, answers = {}, cancelAfterCalls, suspendAt }: World): TestPort {
  const table = typeof answers === 'function' ? answers() : answers;
  const port = virtualPort({
    seed: 1,
    ...(cancelAfterCalls === undefined ? {} : { cancelAfterCalls }),
    ...(suspendAt === undefined ? {} : { suspendAt }),
    answers: ({ activity, input }) => {
      const known = table[activity];
      if (known !== undefined) return known() as Json;
      const path = (input.with as { at?: { path: string } } | undefined)?.at?.path;
      const kind = path === undefined ? undefined : fails[path];
      if (kind !== undefined) throw new StepFailed(failure(kind, `${path} failed`));
      return path === undefined ? {} : { path };
    },
  });
  const slowUntilMs = port.now() + 3_600_000;
  const { call } = port;
  const slow: VirtualPort['call'] = async (asked) => {
    const { at } = ((asked.input as Record<string, Json>).with ?? {}) as { at?: { path: string } };
    if (at?.path === '/slow') await port.sleepUntil(slowUntilMs, 'slow');
    return call(asked);
  };
  return Object.assign(Object.create(port), { call: slow, slowUntilMs }) as TestPort;
}

/** Runs the plan in one go and suspended at every possible point, which must come to the same; gives the first. */
async function everyWay(compiled: Plan, world: World = {}): Promise<{ walk: Walk & { end: 'done' }; port: TestPort }> {
  const port = testPort(world);
  const walk = ended(await walkAll(compiled, port));
  expect(port.questions).toBeGreaterThan(0);
  for (let at = 1; at <= port.questions; at++) {
    const again = testPort({ ...world, suspendAt: (question) => question === at || question === at + 3 });
    expect(await walkAll(compiled, again)).toEqual(walk);
    expect(told(again).sort()).toEqual(told(port).sort());
  }
  return { walk, port };
}

async function walkAll(compiled: Plan, port: VirtualPort, runContext = context): Promise<Walk> {
  let state: RunState = newRunState();
  for (;;) {
    const walk = await interpret(compiled, runContext, state, port);
    if (walk.end === 'done') return walk;
    state = JSON.parse(JSON.stringify(state)) as RunState;
  }
}

function ended(walk: Walk): Walk & { end: 'done' } {
  if (walk.end !== 'done') throw new Error('the walk was suspended');
  return walk;
}

/** The calls in short: the path that an action names, or its event with its data. */
function told(port: VirtualPort): string[] {
  return port.calls.flatMap(({ input }) => {
    const given = (input.with ?? {}) as { at?: { path: string }; event?: string; data?: Json };
    if (given.at !== undefined) return [given.at.path];
    if (given.event === undefined) return [];
    return [given.data === undefined ? given.event : `${given.event} ${JSON.stringify(given.data)}`];
  });
}

function failure(kind: ErrorKind, message: string): Failure {
  return { kind, message, step: null, endpoint: null, path: null };
}

function plan(body: string): Plan {
  const text = `pipeline: sample-pipeline\napiVersion: waybill/v1\nendpoints: { partner: acme-sftp }\n${body.trimStart()}`;
  const result = check([{ file: 'sample.yaml', text }], { connectors: [] });
  const errors = result.diagnostics.filter(({ severity }) => severity === 'error');
  if (errors.length > 0) throw new Error(JSON.stringify(errors, null, 2));
  const document = result.documents[0]!;
  if (document.kind !== 'pipeline') throw new Error('not a pipeline');
  return document.plan;
}

import { describe, expect, test } from 'vitest';
import { check } from '../language/check.ts';
import type { ErrorKind } from '../schema/errors.ts';
import type { Json, Plan } from '../schema/plan.ts';
import { type VirtualPort, type VirtualPortOptions, virtualPort } from '../test/property/virtualPort.ts';
import { interpret, type RunContext, type Walk } from './interpreter.ts';
import { type Call, StepFailed } from './port.ts';
import { newRunState, type RunState } from './state.ts';

const context: RunContext = {
  tenantId: 'tenant',
  runId: 'run',
  inputs: { folder: '/out' },
  run: { id: 'run', pipeline: 'sample', version: 'v', date: '2026-11-22', startedAt: '2026-11-22T07:00:00.000Z' },
};

describe('a plan', () => {
  test('runs its steps in order and gives later steps what earlier ones answered', async () => {
    const port = recordingPort({ 'files.move@1': () => ({ path: '/done/a.csv' }) });
    const walk = await walkAll(
      plan(`
steps:
  - { id: first, use: files.move@1, with: { from: "partner:/a.csv", to: /done/ } }
  - { use: audit.write@1, with: { event: orders.moved, data: { to: "\${{ steps.first.path }}", from: "\${{ inputs.folder }}/a" } } }
outputs: { moved: steps.first.path }
`),
      port,
    );
    expect(port.calls.map((call) => call.activity)).toEqual(['files.move@1', 'audit.write@1']);
    expect(port.calls[1]!.input.with).toEqual({ event: 'orders.moved', data: { to: '/done/a.csv', from: '/out/a' } });
    expect(walk).toEqual({ end: 'done', status: 'succeeded', failure: null, outputs: { moved: '/done/a.csv' } });
  });

  test('takes the branch its condition says', async () => {
    const port = recordingPort({});
    await walkAll(
      plan(`
steps:
  - if: inputs.folder == "/in"
    steps: [ { use: audit.write@1, with: { event: a.yes } } ]
    else: [ { use: audit.write@1, with: { event: a.no } } ]
  - { use: audit.write@1, if: "false", with: { event: a.never } }
`),
      port,
    );
    expect(port.calls.map(({ input }) => (input.with as { event: string }).event)).toEqual(['a.no']);
  });

  test('that fails runs onError with the error, then finally, and is failed with the first failure', async () => {
    const port = recordingPort({ 'files.delete@1': () => fail('forbidden', 'no right to delete') });
    const walk = await walkAll(
      plan(`
steps:
  - id: gone
    use: files.delete@1
    with: { at: "partner:/a.csv" }
    onError: [ { use: audit.write@1, with: { event: step.failed, data: { kind: "\${{ error.kind }}" } } } ]
  - { use: audit.write@1, with: { event: never.sent } }
onError: [ { use: webhook.send@1, with: { event: orders.failed, data: { message: "\${{ error.message }}" } } } ]
finally: [ { use: audit.write@1, with: { event: orders.ended, data: { status: "\${{ run.status }}" } } } ]
`),
      port,
    );
    expect(port.calls.map((call) => call.input.with)).toEqual([
      { at: { endpoint: 'partner', path: '/a.csv' } },
      { event: 'step.failed', data: { kind: 'forbidden' } },
      { event: 'orders.failed', data: { message: 'no right to delete' } },
      { event: 'orders.ended', data: { status: 'failed' } },
    ]);
    expect(walk).toMatchObject({ status: 'failed', failure: { kind: 'forbidden', step: 'gone' }, outputs: null });
  });

  test('whose onError fails too still tells the first failure', async () => {
    const port = recordingPort({
      'files.delete@1': () => fail('forbidden', 'first'),
      'audit.write@1': () => fail('internal', 'second'),
    });
    const walk = await walkAll(
      plan(`
steps: [ { use: files.delete@1, with: { at: "partner:/a.csv" }, onError: [ { use: audit.write@1, with: { event: step.failed } } ] } ]
finally: [ { use: audit.write@1, with: { event: orders.ended } } ]
`),
      port,
    );
    expect(walk).toMatchObject({ status: 'failed', failure: { message: 'first' } });
  });

  test('that is cancelled runs finally but no onError', async () => {
    const port = recordingPort({ 'files.delete@1': () => fail('cancelled', 'cancelled') });
    const walk = await walkAll(
      plan(`
steps: [ { use: files.delete@1, with: { at: "partner:/a.csv" } } ]
onError: [ { use: audit.write@1, with: { event: never.sent } } ]
finally: [ { use: audit.write@1, with: { event: orders.ended, data: { status: "\${{ run.status }}" } } } ]
`),
      port,
    );
    expect(port.calls.map((call) => call.activity)).toEqual(['files.delete@1', 'audit.write@1']);
    expect(walk).toMatchObject({ status: 'cancelled' });
  });
});

describe('a loop', () => {
  const loop = `
inputs: { names: { type: list, default: [a, b, c, d, e] } }
steps:
  - id: each
    forEach: inputs.names
    as: name
    maxParallel: 2
    steps:
      - { id: drop, use: files.delete@1, with: { at: "partner:/\${{ name }}" } }
      - { use: audit.write@1, with: { event: item.done, data: { path: "\${{ steps.drop.path }}" } } }
  - { use: audit.write@1, with: { event: loop.done, data: { ok: "\${{ steps.each.succeeded.count }}" } } }
`;

  test('runs every item, no more at a time than it may', async () => {
    const port = recordingPort({ 'files.delete@1': (call) => ({ path: pathOf(call) }) });
    await walkAll(plan(loop), port, { ...context, inputs: { names: ['a', 'b', 'c', 'd', 'e'] } });
    expect(port.calls.filter((call) => call.activity === 'files.delete@1')).toHaveLength(5);
    expect(port.calls.at(-1)!.input.with).toEqual({ event: 'loop.done', data: { ok: 5 } });
    expect(port.mostTogether).toBe(2);
  });

  test('goes on past an item that fails, and fails at its end', async () => {
    const port = recordingPort({
      'files.delete@1': (call) => (pathOf(call) === '/b' ? fail('not-found', 'b is gone') : { path: 'x' }),
    });
    const walk = await walkAll(plan(loop), port, { ...context, inputs: { names: ['a', 'b', 'c', 'd', 'e'] } });
    expect(port.calls.filter((call) => call.activity === 'files.delete@1')).toHaveLength(5);
    expect(walk).toMatchObject({
      status: 'failed',
      failure: { kind: 'not-found', step: 'each', message: '1 of 5 items failed; the first: b is gone' },
    });
  });

  test('over a file set pulls its rows by pages', async () => {
    const rows = Array.from({ length: 450 }, (_, index) => ({
      endpoint: 'acme',
      path: `/out/${index}`,
      name: `${index}`,
      size: 1,
      modified: null,
    }));
    const port = recordingPort({
      'files.list@1': () => ({ files: { ref: 'set', count: rows.length, bytes: 450 }, count: rows.length, bytes: 450 }),
      'files.page': ({ input }) => rows.slice(input.after as number, (input.after as number) + (input.limit as number)),
    });
    await walkAll(
      plan(`
steps:
  - { id: list, use: files.list@1, with: { from: "partner:/out/*" } }
  - { id: each, forEach: steps.list.files, as: file, maxParallel: 4, steps: [ { use: files.delete@1, with: { at: { endpoint: partner, path: "\${{ file.path }}" } } } ] }
`),
      port,
    );
    expect(port.calls.filter((call) => call.activity === 'files.page').map((call) => call.input.after)).toEqual([
      0, 200, 400,
    ]);
    const paths = port.calls.filter((call) => call.activity === 'files.delete@1').map(pathOf);
    expect(paths).toEqual(rows.map((row) => row.path));
  });
});

describe('a copy', () => {
  const copy = `
steps:
  - { id: orders, use: transfer.copy@1, with: { from: "partner:/out/*.csv", to: "partner:/acme/" } }
  - { use: audit.write@1, with: { event: copy.done, data: { files: "\${{ steps.orders.files }}" } } }
`;
  const counts = { files: 2, bytes: 20, skipped: 0, failed: 0, firstFailure: null };

  test('is planned, copied batch by batch, and closed', async () => {
    const port = recordingPort({
      'transfer.plan': () => ({ transferId: 't', files: 6, bytes: 60, batches: 3 }),
      'transfer.batch': () => counts,
      'transfer.finish': () => ({ ...counts, files: 6 }),
    });
    await walkAll(plan(copy), port);
    expect(port.calls.map((call) => call.activity)).toEqual([
      'transfer.plan',
      'transfer.batch',
      'transfer.batch',
      'transfer.batch',
      'transfer.finish',
      'audit.write@1',
    ]);
    expect(port.calls.at(-1)!.input.with).toEqual({ event: 'copy.done', data: { files: 6 } });
  });

  test('goes on with the other batches when one fails, is closed as failed, and fails', async () => {
    const port = recordingPort({
      'transfer.plan': () => ({ transferId: 't', files: 6, bytes: 60, batches: 3 }),
      'transfer.batch': ({ input }) => (input.batch === 0 ? fail('disk-full', 'no space') : counts),
      'transfer.finish': () => ({ ...counts, files: 4, failed: 2 }),
    });
    const walk = await walkAll(plan(copy), port);
    expect(port.calls.filter((call) => call.activity === 'transfer.batch')).toHaveLength(3);
    expect(port.calls.at(-1)!.input.status).toBe('failed');
    expect(walk).toMatchObject({
      status: 'failed',
      failure: { kind: 'disk-full', step: 'orders', message: '2 of 6 files failed; the first: no space' },
    });
  });
});

test('a walk that is suspended at every possible point makes the same calls and ends the same way', async () => {
  const text = `
inputs: { names: { type: list } }
steps:
  - { id: list, use: files.list@1, with: { from: "partner:/out/*" } }
  - id: each
    forEach: steps.list.files
    as: file
    maxParallel: 3
    steps:
      - { id: drop, use: files.delete@1, with: { at: { endpoint: partner, path: "\${{ file.path }}" } } }
      - { use: audit.write@1, with: { event: item.done, data: { path: "\${{ steps.drop.path }}" } } }
  - { id: copy, use: transfer.copy@1, with: { from: "partner:/a/*", to: "partner:/b/" } }
finally: [ { use: audit.write@1, with: { event: all.done, data: { files: "\${{ steps.copy.files }}" } } } ]
outputs: { items: steps.each.succeeded.count }
`;
  const rows = ['a', 'b', 'c', 'd', 'e', 'f', 'g'].map((name) => ({
    endpoint: 'p',
    path: `/out/${name}`,
    name,
    size: 1,
    modified: null,
  }));
  const counts = { files: 9, bytes: 90, skipped: 0, failed: 0, firstFailure: null };
  const answers: Answers = {
    'files.list@1': () => ({ files: { ref: 'set', count: 7, bytes: 7 } }),
    'files.page': ({ input }) => rows.slice(input.after as number),
    'files.delete@1': (call) => ({ path: pathOf(call) }),
    'transfer.plan': () => ({ transferId: 't', files: 9, bytes: 90, batches: 6 }),
    'transfer.batch': () => counts,
    'transfer.finish': () => counts,
  };
  const whole = recordingPort(answers);
  const expected = await walkAll(plan(text), whole);
  const asked = whole.questions;
  expect(asked).toBeGreaterThan(20);
  for (let at = 1; at <= asked; at++) {
    const port = recordingPort(answers, [at, at + 5]);
    expect(await walkAll(plan(text), port)).toEqual(expected);
    expect(effects(port)).toEqual(effects(whole));
  }
});

/** Calls that change something, without regard to the order that parallel items settle in. Pages may be read again. */
function effects(port: RecordingPort): string[] {
  return port.calls
    .filter((call) => call.activity !== 'files.page')
    .map((call) => JSON.stringify([call.activity, call.input]))
    .sort();
}

/** Walks to the end, over as many suspensions as the port asks for; the state goes through JSON as in a continue-as-new. */
async function walkAll(compiled: Plan, port: RecordingPort, runContext = context): Promise<Walk> {
  let state: RunState = newRunState();
  for (;;) {
    const walk = await interpret(compiled, runContext, state, port);
    if (walk.end === 'done') return walk;
    state = JSON.parse(JSON.stringify(state)) as RunState;
  }
}

function plan(body: string): Plan {
  const text = `pipeline: sample-pipeline\napiVersion: waybill/v1\nendpoints: { partner: acme-sftp }\n${body.includes('inputs:') ? '' : 'inputs: { folder: { type: string, default: /out } }\n'}${body.trimStart()}`;
  const result = check([{ file: 'sample.yaml', text }], { connectors: [] });
  const errors = result.diagnostics.filter((diagnostic) => diagnostic.severity === 'error');
  if (errors.length > 0) throw new Error(JSON.stringify(errors, null, 2));
  const document = result.documents[0]!;
  if (document.kind !== 'pipeline') throw new Error('not a pipeline');
  return document.plan;
}

interface RecordedCall {
  activity: string;
  input: Record<string, Json>;
  with: Json | undefined;
}
type Answers = Record<string, (call: RecordedCall) => unknown>;
type RecordingPort = VirtualPort & { mostTogether: number };

/** A port that records its calls and answers them from a table; asks to suspend at the questions of `suspendAt`. */
function recordingPort(
  answers: Answers,
  suspendAt: readonly number[] = [],
  options: Partial<VirtualPortOptions> = {},
): RecordingPort {
  let together = 0;
  let mostTogether = 0;
  const port = virtualPort({
    seed: 1,
    suspendAt: (question) => suspendAt.includes(question),
    answers: ({ activity, input }) => (answers[activity]?.({ activity, input, with: input.with }) ?? {}) as Json,
    ...options,
  });
  const { call } = port;
  return Object.assign(Object.create(port, { mostTogether: { get: () => mostTogether } }), {
    async call(asked: Call) {
      mostTogether = Math.max(mostTogether, ++together);
      try {
        return await call.call(port, asked);
      } finally {
        together--;
      }
    },
  }) as RecordingPort;
}

function pathOf(call: { input: Record<string, Json> }): string {
  return (call.input.with as { at: { path: string } }).at.path;
}

function fail(kind: ErrorKind, message: string): never {
  throw new StepFailed({ kind, message, step: null, endpoint: null, path: null });
}

import { expect } from 'vitest';
import { check } from '../language/check.ts';
import type { ErrorKind } from '../schema/errors.ts';
import type { Failure, Json, Plan } from '../schema/plan.ts';
import { interpret, type RunContext, type Walk } from '../workflows/interpreter.ts';
import { StepFailed } from '../workflows/port.ts';
import { newRunState, type RunState } from '../workflows/state.ts';
import { type VirtualPort, type VirtualPortOptions, virtualPort } from './property/virtualPort.ts';

/** What walks of small plans start from. */
export const context: RunContext = {
  tenantId: 'tenant',
  runId: 'run',
  inputs: { names: ['a', 'b', 'c', 'd'] },
  run: { id: 'run', pipeline: 'sample', version: 'v', date: '2026-11-22', startedAt: '2026-11-22T07:00:00.000Z' },
};

interface World {
  /** By path: how deleting it fails. `/slow` takes an hour. */
  fails?: Partial<Record<string, ErrorKind>>;
  answers?: Record<string, () => unknown> | (() => Record<string, () => unknown>);
  inputs?: Record<string, Json>;
  cancelAfterCalls?: number;
  suspendAt?: VirtualPortOptions['suspendAt'];
}

type TestPort = VirtualPort & { slowUntilMs: number };

export function testPort({ fails = {}, answers = {}, cancelAfterCalls, suspendAt }: World): TestPort {
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
export async function everyWay(
  compiled: Plan,
  world: World = {},
): Promise<{ walk: Walk & { end: 'done' }; port: TestPort }> {
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

export async function walkAll(compiled: Plan, port: VirtualPort, runContext = context): Promise<Walk> {
  let state: RunState = newRunState();
  for (;;) {
    const walk = await interpret(compiled, runContext, state, port);
    if (walk.end === 'done') return walk;
    state = JSON.parse(JSON.stringify(state)) as RunState;
  }
}

export function ended(walk: Walk): Walk & { end: 'done' } {
  if (walk.end !== 'done') throw new Error('the walk was suspended');
  return walk;
}

/** The calls in short: the path that an action names, or its event with its data. */
export function told(port: VirtualPort): string[] {
  return port.calls.flatMap(({ input }) => {
    const given = (input.with ?? {}) as { at?: { path: string }; event?: string; data?: Json };
    if (given.at !== undefined) return [given.at.path];
    if (given.event === undefined) return [];
    return [given.data === undefined ? given.event : `${given.event} ${JSON.stringify(given.data)}`];
  });
}

export function failure(kind: ErrorKind, message: string): Failure {
  return { kind, message, step: null, endpoint: null, path: null };
}

export function plan(body: string): Plan {
  const text = `pipeline: sample-pipeline\napiVersion: waybill/v1\nendpoints: { partner: acme-sftp }\n${body.trimStart()}`;
  const result = check([{ file: 'sample.yaml', text }], { connectors: [] });
  const errors = result.diagnostics.filter(({ severity }) => severity === 'error');
  if (errors.length > 0) throw new Error(JSON.stringify(errors, null, 2));
  const document = result.documents[0]!;
  if (document.kind !== 'pipeline') throw new Error('not a pipeline');
  return document.plan;
}

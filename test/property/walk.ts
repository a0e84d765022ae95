import { check } from '../../language/check.ts';
import type { Json, Plan } from '../../schema/plan.ts';
import { interpret, type RunContext, type Walk } from '../../workflows/interpreter.ts';
import { newRunState, type RunState } from '../../workflows/state.ts';
import { type GeneratedPipeline, textOf } from './generate.ts';
import { type VirtualPort, type VirtualPortOptions, virtualPort } from './virtualPort.ts';

/** Checks and compiles a generated pipeline as `validate` does. Throws Invalid with its mistakes and its text. */
export function compile(pipeline: GeneratedPipeline): Plan {
  return compileText(textOf(pipeline));
}

export function compileText(text: string): Plan {
  const { diagnostics, documents } = check([{ file: 'generated.yaml', text }], { connectors: [] });
  const errors = diagnostics.filter((diagnostic) => diagnostic.severity === 'error');
  const document = documents[0];
  if (errors.length > 0 || document?.kind !== 'pipeline')
    throw new Invalid(`${JSON.stringify(errors, null, 1)}\n${text}`);
  return document.plan;
}

/** The generator made what the language refuses. */
export class Invalid extends Error {}

export const runFacts = {
  id: 'run_generated',
  pipeline: 'generated',
  version: 'v',
  date: '2026-11-22',
  startedAt: '2026-11-22T07:00:00.000Z',
};

/** More walks than any pipeline has places to suspend at: one that goes on for ever is a mistake. */
const walksAtMost = 2_000;

/** Walks a plan to its end on a virtual port. Each time it suspends, its state goes through JSON, as in a continue-as-new. */
export async function walkVirtually(
  plan: Plan,
  inputs: Record<string, Json>,
  options: VirtualPortOptions,
): Promise<{ port: VirtualPort; walk: Walk & { end: 'done' }; walks: number }> {
  const port = virtualPort(options);
  const context: RunContext = { tenantId: 'tenant', runId: 'run', inputs, run: runFacts };
  let state: RunState = newRunState();
  for (let walks = 1; walks <= walksAtMost; walks++) {
    const walk = await interpret(plan, context, state, port);
    if (walk.end === 'done') return { port, walk, walks };
    state = JSON.parse(JSON.stringify(state)) as RunState;
  }
  throw new Error(`the walk suspends for ever, after ${port.calls.length} calls`);
}

/** How a walk ended, as far as every way of running it must agree. */
export function endOf(walk: Walk & { end: 'done' }): Json {
  const { status, failure, outputs } = walk;
  return { status, failure: failure?.kind ?? null, outputs };
}

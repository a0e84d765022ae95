import type { ActionManifest } from '../schema/actions.ts';
import type { ErrorKind } from '../schema/errors.ts';
import { languageVersion, pipelineDefaults, type RetrySettings, type TimeoutSettings } from '../schema/pipeline.ts';
import type { Json, Plan, RetryPolicy, TimeoutPolicy } from '../schema/plan.ts';
import { parseDurationMs } from '../schema/quantities.ts';
import { contentHash } from './contentHash.ts';
import type { Located } from './source.ts';

/** How a step is tried again: the action's policy, then what the pipeline says for all its steps, then what the step says. */
export function compileRetry(own: RetryPolicy, ...settings: Array<RetrySettings | undefined>): RetryPolicy {
  const policy = { ...own, notOn: [...own.notOn] };
  for (const setting of settings) {
    if (!setting) continue;
    policy.forMs = durationMs(setting.for) ?? policy.forMs;
    policy.attempts = setting.attempts ?? policy.attempts;
    policy.firstMs = durationMs(setting.first) ?? policy.firstMs;
    policy.factor = setting.factor ?? policy.factor;
    policy.maxMs = durationMs(setting.max) ?? policy.maxMs;
    policy.jitter = setting.jitter === undefined ? policy.jitter : Number(setting.jitter.replace('%', '')) / 100;
    policy.notOn = (setting.notOn as ErrorKind[] | undefined) ?? policy.notOn;
  }
  return policy;
}

export function compileTimeout(action: ActionManifest, ...settings: Array<TimeoutSettings | undefined>): TimeoutPolicy {
  const policy = { ...action.timeout };
  for (const setting of settings) {
    policy.stallMs = durationMs(setting?.stall) ?? policy.stallMs;
    policy.totalMs = durationMs(setting?.total) ?? policy.totalMs;
  }
  return policy;
}

/** Settings whose form the schema has checked; when they were wrong they are left out, and the plan is thrown away anyway. */
export function settingsOf<Settings extends RetrySettings | TimeoutSettings>(
  owner: Located | undefined,
  key: 'retry' | 'timeout',
): Settings | undefined {
  const value = owner?.entries?.get(key)?.value.value;
  return isSettings(value) ? (value as Settings) : undefined;
}

/** Compiling reads texts and numbers only: a mapping or list in the wrong place has been reported, and is left out. */
function isSettings(value: Json | undefined): value is { [key: string]: Json } {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return false;
  return Object.entries(value).every(([name, item]) =>
    name === 'notOn'
      ? Array.isArray(item)
      : name === 'attempts' || name === 'factor'
        ? typeof item === 'number'
        : typeof item === 'string',
  );
}

/** What a checked file says besides its blocks. */
export interface PipelineHeader {
  pipeline: string;
  description?: string;
  labels?: Record<string, string>;
  endpoints?: Record<string, string>;
  session?: { application?: number; as?: string };
}

/** The parts of a plan that the checker compiles while it checks. */
export type PlanParts = Pick<Plan, 'inputs' | 'vars' | 'concurrency' | 'steps' | 'onError' | 'finally' | 'outputs'>;

/** The plan of a checked pipeline. */
export function compilePlan(header: PipelineHeader, parts: PlanParts): Plan {
  return {
    language: languageVersion,
    pipeline: header.pipeline,
    description: header.description ?? null,
    labels: { ...header.labels },
    inputs: parts.inputs,
    endpoints: { ...header.endpoints },
    session: {
      application: header.session?.application ?? pipelineDefaults.application,
      as: header.session?.as ?? null,
    },
    vars: parts.vars,
    concurrency: parts.concurrency,
    steps: parts.steps,
    onError: parts.onError,
    finally: parts.finally,
    outputs: parts.outputs,
  };
}

/**
 * The name of an immutable version: of what the file says (not of its comments, order of keys or anchors), the actions'
 * majors in it, and the version of the language.
 */
export function versionHash(file: Json): string {
  return contentHash({ language: languageVersion, file });
}

function durationMs(text: string | undefined): number | undefined {
  return text === undefined ? undefined : parseDurationMs(text);
}

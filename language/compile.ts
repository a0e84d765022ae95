import type { ActionManifest } from '../schema/actions.ts';
import type { ErrorKind } from '../schema/errors.ts';
import { languageVersion, pipelineDefaults, type RetrySettings, type TimeoutSettings } from '../schema/pipeline.ts';
import type { InputDeclaration, Json, Plan, RetryPolicy, TimeoutPolicy } from '../schema/plan.ts';
import { parseDurationMs } from '../schema/quantities.ts';
import { contentHash } from './contentHash.ts';

/** How a step is tried again: the action's policy, then what the pipeline says for all its steps, then what the step says. */
export function compileRetry(action: ActionManifest, ...settings: Array<RetrySettings | undefined>): RetryPolicy {
  const policy = { ...action.retry, notOn: [...action.retry.notOn] };
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

/** What a checked file says besides its blocks. */
export interface PipelineHeader {
  pipeline: string;
  description?: string;
  labels?: Record<string, string>;
  endpoints?: Record<string, string>;
  session?: { application?: number; as?: string };
}

/** The plan of a checked pipeline. */
export function compilePlan(
  header: PipelineHeader,
  parts: Pick<Plan, 'steps' | 'onError' | 'finally' | 'outputs'> & { inputs: Record<string, InputDeclaration> },
): Plan {
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

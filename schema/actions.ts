import type { TObject } from 'typebox';
import { fileActions } from './actions/files.ts';
import { httpActions } from './actions/http.ts';
import { messageActions } from './actions/messages.ts';
import { sessionActions } from './actions/sessions.ts';
import { transferActions } from './actions/transfer.ts';
import type { ErrorKind } from './errors.ts';
import type { Json, RetryPolicy, TimeoutPolicy } from './plan.ts';

/**
 * The manifests of the built-in actions: data that the language checks `with` and `steps.*` against, the editor schema
 * and the reference are made from, and the worker registers activities by. What an action does is in `activities/`.
 */
export interface ActionManifest {
  /** `transfer.copy@1` */
  use: string;
  summary: string;
  /** `x-one-of` names keys of which a step has to give exactly one. */
  input: TObject;
  output: TObject;
  /** A second call with the same input changes nothing more. */
  idempotent: boolean;
  /** Where it depends on one key of the input: the values with which a second call changes nothing more, and how those are tried again. */
  idempotentWhen?: { field: string; default: string; values: readonly string[]; retry: RetryPolicy };
  heartbeats: boolean;
  /** Its step must have an id: deliveries are shown under it. */
  transfers: boolean;
  errorKinds: readonly ErrorKind[];
  retry: RetryPolicy;
  timeout: TimeoutPolicy;
}

export const actions: readonly ActionManifest[] = [
  ...fileActions,
  ...transferActions,
  ...messageActions,
  ...httpActions,
  ...sessionActions,
];

const byUse = new Map(actions.map((action) => [action.use, action]));

/** The manifest of `transfer.copy@1`, or undefined. */
export function findAction(use: string): ActionManifest | undefined {
  return byUse.get(use);
}

/** Whether a second call with that `with` changes nothing more. A value that is only known when the step runs counts as one that does. */
export function isIdempotent(
  { idempotent, idempotentWhen: when }: ActionManifest,
  input: Record<string, Json>,
): boolean {
  if (when === undefined) return idempotent;
  const value = input[when.field] ?? when.default;
  return typeof value === 'string' && when.values.includes(value);
}

/** How a step with that `with` is tried again when nobody says otherwise. */
export function defaultRetry(action: ActionManifest, input: Record<string, Json>): RetryPolicy {
  return action.idempotentWhen && isIdempotent(action, input) ? action.idempotentWhen.retry : action.retry;
}

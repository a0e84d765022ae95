import type { ErrorKind } from '../schema/errors.ts';

/** The published exit codes. */
export const exitCodes = { done: 0, failed: 1, usage: 2, unreachable: 3, notAllowed: 4, partial: 5 } as const;

const codeOfKind: Partial<Record<ErrorKind, number>> = {
  invalid: exitCodes.usage,
  unavailable: exitCodes.unreachable,
  timeout: exitCodes.unreachable,
  unauthenticated: exitCodes.notAllowed,
  forbidden: exitCodes.notAllowed,
};

/** The exit code of a command that ended with an error of that kind. */
export function exitCodeOf(kind: ErrorKind): number {
  return codeOfKind[kind] ?? exitCodes.failed;
}

import { createHash } from 'node:crypto';
import { limits } from '../limits.ts';

/** The inputs as they came, as far as they are kept. */
export interface GivenInputs {
  values: Record<string, unknown>;
  /** SHA-256 of their JSON when they are not kept. */
  digest: string | null;
  /** Why they cannot be kept, and so not be used; or null. */
  problem: string | null;
}

/** What was given as inputs: a map of a bounded size that PostgreSQL can store, or the digest of what it was. Never throws. */
export function readInputs(inputs: unknown): GivenInputs {
  if (inputs === undefined || inputs === null) return { values: {}, digest: null, problem: null };
  const text = JSON.stringify(inputs);
  const problem = problemOf(inputs, text);
  if (problem === null) return { values: inputs as Record<string, unknown>, digest: null, problem: null };
  return { values: {}, digest: createHash('sha256').update(text).digest('hex'), problem };
}

function problemOf(inputs: unknown, text: string): string | null {
  if (typeof inputs !== 'object' || Array.isArray(inputs)) return 'inputs must be a map of names to values';
  const bytes = Buffer.byteLength(text);
  if (bytes > limits.inputsBytes)
    return `inputs have ${bytes} bytes as JSON, and at most ${limits.inputsBytes} are taken; put large data into a file that the pipeline reads`;
  // PostgreSQL keeps neither NUL nor lone surrogates.
  if (/\\u0000|\\ud[89a-f]/i.test(text)) return 'inputs hold a NUL character or a lone surrogate';
  return null;
}

import { createInterface } from 'node:readline/promises';
import type { CommandContext } from './context.ts';
import type { Output } from './output.ts';

/** Asks a yes-or-no question on a terminal; anything but y or yes is no. Elsewhere nobody can answer, and it is no. */
export async function confirm(context: CommandContext, output: Output, question: string): Promise<boolean> {
  if (!output.interactive) return false;
  const reader = createInterface({ input: context.streams.stdin, output: context.streams.stderr });
  try {
    return /^y(es)?$/i.test((await reader.question(`${question} [y/N] `)).trim());
  } finally {
    reader.close();
  }
}

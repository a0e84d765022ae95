import { createInterface } from 'node:readline/promises';
import type { CommandContext } from './context.ts';
import type { Output } from './output.ts';

/** Asks a yes-or-no question on a terminal; anything but y or yes is no. Elsewhere nobody can answer, and it is no. */
export async function confirm(context: CommandContext, output: Output, question: string): Promise<boolean> {
  return output.interactive && /^y(es)?$/i.test(await ask(context, `${question} [y/N] `));
}

/** What is typed at a terminal, without spaces around it. */
export async function ask(context: CommandContext, question: string): Promise<string> {
  const reader = createInterface({ input: context.streams.stdin, output: context.streams.stderr });
  try {
    return (await reader.question(question)).trim();
  } finally {
    reader.close();
  }
}

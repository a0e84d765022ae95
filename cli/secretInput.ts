import { text as readStream } from 'node:stream/consumers';
import { WaybillError } from '../schema/errors.ts';
import { readSecretFile, trimOneLine } from './configuration/secrets.ts';
import type { CommandContext } from './context.ts';

/**
 * A secret from a file, or from standard input for `-`, without the newline at its end: never from an argument, which every
 * process can read. Throws invalid for a file that cannot be read and for what is empty.
 */
export async function readSecretInput(context: CommandContext, file: string, option: string): Promise<string> {
  const value = file === '-' ? trimOneLine(await readStream(context.streams.stdin)) : await readFileOf(file);
  if (value === '') throw new WaybillError('invalid', `${option} ${file} is empty`);
  return value;
}

async function readFileOf(file: string): Promise<string> {
  const read = await readSecretFile(file);
  if ('problem' in read) throw new WaybillError('invalid', read.problem);
  return read.value;
}

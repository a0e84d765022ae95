import { text as readStream } from 'node:stream/consumers';
import { WaybillError } from '../schema/errors.ts';
import { readSecretFile, trimOneLine } from './configuration/secrets.ts';
import type { CommandContext } from './context.ts';

/**
 * A secret of one line from a file, or from standard input for `-`, without the newline at its end: never from an argument,
 * which every process can read. Throws invalid for a file that cannot be read, for what is empty, and for several lines:
 * nobody could type them again, and they are most often another file than the one that was meant.
 */
export async function readSecretInput(context: CommandContext, file: string, option: string): Promise<string> {
  const value = await readSecretText(context, file, option);
  if (/[\r\n]/.test(value)) throw new WaybillError('invalid', `${option} ${file} holds more than one line`);
  return value;
}

/** The same for a secret that may have several lines, such as a private key; those stay as they are. */
export async function readSecretText(context: CommandContext, file: string, option: string): Promise<string> {
  const value = file === '-' ? trimOneLine(await readStream(context.streams.stdin)) : await readFileOf(file, option);
  if (value === '') throw new WaybillError('invalid', `${option} ${file} is empty`);
  return value;
}

async function readFileOf(file: string, option: string): Promise<string> {
  const read = await readSecretFile(file);
  if ('problem' in read) throw new WaybillError('invalid', `${option}: ${read.problem}`);
  return read.value;
}

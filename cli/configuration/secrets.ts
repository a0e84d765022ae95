import { readFile, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { CheckedDocument } from '../../language/check.ts';
import { WaybillError } from '../../schema/errors.ts';
import type { Environment } from '../settings.ts';

/** A secret that a document names by file or environment variable, read here so that the server need not see the file. */
export interface DocumentSecret {
  kind: 'endpoint' | 'webhook';
  name: string;
  secret: string;
  value: string;
}

const maxSecretBytes = 64 * 1024;

/** Reads them; file names are relative to the document's file. Throws invalid with every one that cannot be read. */
export async function readDocumentSecrets(
  documents: readonly CheckedDocument[],
  environment: Environment,
): Promise<DocumentSecret[]> {
  const secrets: DocumentSecret[] = [];
  const problems: string[] = [];
  for (const document of documents) {
    if (document.kind === 'pipeline') continue;
    for (const [secret, reference] of Object.entries(document.secrets)) {
      // Set by `waybill secrets set`, or read where the work is done.
      if ('secret' in reference || 'workerFile' in reference || 'workerEnv' in reference) continue;
      const where = `${document.file}: secret ${secret} of ${document.kind} ${document.name}`;
      const read =
        'env' in reference
          ? readVariable(reference.env, environment)
          : await readSecretFile(resolve(dirname(document.file), reference.file));
      if ('problem' in read) problems.push(`${where}: ${read.problem}`);
      else secrets.push({ kind: document.kind, name: document.name, secret, value: read.value });
    }
  }
  if (problems.length > 0) throw new WaybillError('invalid', problems.join('\n'));
  return secrets;
}

type Read = { value: string } | { problem: string };

/** A one-line value without the newline that editors add; a key in several lines as it is. */
export async function readSecretFile(path: string): Promise<Read> {
  try {
    if ((await stat(path)).size > maxSecretBytes) return { problem: `${path} is larger than ${maxSecretBytes} bytes` };
    return { value: trimOneLine(await readFile(path, 'utf8')) };
  } catch (error) {
    return { problem: `cannot read ${path} (${(error as NodeJS.ErrnoException).code})` };
  }
}

export function trimOneLine(text: string): string {
  return /^[^\n]*\r?\n$/.test(text) ? text.replace(/\r?\n$/, '') : text;
}

function readVariable(name: string, environment: Environment): Read {
  const value = environment[name];
  return value === undefined || value === '' ? { problem: `the environment variable ${name} is not set` } : { value };
}

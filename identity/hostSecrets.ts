import { readFile, realpath, stat } from 'node:fs/promises';
import { dirname, isAbsolute, normalize, sep } from 'node:path';
import { WaybillError } from '../schema/errors.ts';

/** A secret that stays on the machine of the worker: a file there, or a variable of its environment. */
export type HostReference = { workerFile: string } | { workerEnv: string };

/**
 * What the operator lends to tenants of the machines that Waybill runs on. Nothing, until the operator says what: else the
 * configuration of any tenant could read the host's own keys.
 */
export interface HostSecrets {
  /** Throws forbidden for what is not lent to the tenant of that name. Reads nothing. */
  check(tenantName: string, reference: HostReference): void;
  /** Throws as `check`, and not-found or invalid when there is nothing that could be a secret. */
  read(tenantName: string, reference: HostReference): Promise<string>;
}

export interface HostAllowances {
  /** `acme=/etc/keys/*`, or without a tenant for all of them; `*` stands for what has no slash. */
  files: readonly string[];
  /** `acme=ACME_*` in the same way. */
  variables: readonly string[];
  /** Where the variables are; without those that configure Waybill itself. */
  environment: Readonly<Record<string, string | undefined>>;
}

const maxSecretBytes = 64 * 1024;

export function createHostSecrets({ files, variables, environment }: HostAllowances): HostSecrets {
  const allowing = (tenantName: string, reference: HostReference): string => {
    const [entries, wanted] =
      'workerFile' in reference ? [files, reference.workerFile] : [variables, reference.workerEnv];
    const isPlain = !('workerFile' in reference) || (isAbsolute(wanted) && normalize(wanted) === wanted);
    const found = isPlain ? allowedTo(tenantName, entries).find((pattern) => covers(pattern, wanted)) : undefined;
    if (found === undefined) throw refused(reference);
    return found;
  };
  return {
    check: (tenantName, reference) => void allowing(tenantName, reference),
    read: async (tenantName, reference) => {
      const pattern = allowing(tenantName, reference);
      if ('workerFile' in reference) return readLent(pattern, reference);
      const value = environment[reference.workerEnv];
      if (value === undefined || value === '') throw absent(reference);
      return value;
    },
  };
}

/** Nothing is lent to anybody. */
export const noHostSecrets = createHostSecrets({ files: [], variables: [], environment: {} });

/** Of entries `tenant=what`, and `what` alone for all tenants, what holds for one of them. */
export function allowedTo(tenantName: string, entries: readonly string[]): string[] {
  return entries.flatMap((entry) => {
    const at = entry.indexOf('=');
    if (at < 0) return [entry];
    return entry.slice(0, at) === tenantName ? [entry.slice(at + 1)] : [];
  });
}

/** In the place of the name of a stored secret, which never holds a colon. */
export function hostReferenceText(reference: HostReference): string {
  return 'workerFile' in reference ? `workerFile:${reference.workerFile}` : `workerEnv:${reference.workerEnv}`;
}

/** Undefined for the name of a stored secret. */
export function readHostReference(text: string): HostReference | undefined {
  const match = /^(workerFile|workerEnv):(.+)$/s.exec(text);
  if (match === null) return undefined;
  return match[1] === 'workerFile' ? { workerFile: match[2]! } : { workerEnv: match[2]! };
}

function covers(pattern: string, text: string): boolean {
  const parts = pattern.split('*').map((part) => part.replace(/[\\^$.+?()[\]{}|]/g, '\\$&'));
  return new RegExp(`^${parts.join('[^/]*')}$`).test(text);
}

/** A link may lead from one lent file to another place in the folder that was lent, as mounted secrets do, but not out of it. */
async function readLent(pattern: string, reference: { workerFile: string }): Promise<string> {
  try {
    const folder = await realpath(dirname(pattern.split('*')[0]!.concat('x')));
    const real = await realpath(reference.workerFile);
    if (!real.startsWith(folder === sep ? sep : folder + sep)) throw refused(reference);
    const facts = await stat(real);
    if (!facts.isFile() || facts.size > maxSecretBytes) throw unusable(reference);
    const text = await readFile(real, 'utf8');
    // A line's end is the editor's; a key in several lines stays as it is.
    return /^[^\n]*\r?\n$/.test(text) ? text.trimEnd() : text;
  } catch (error) {
    if (error instanceof WaybillError) throw error;
    throw absent(reference);
  }
}

function refused(reference: HostReference): WaybillError {
  const setting = 'workerFile' in reference ? 'WAYBILL_WORKER_FILES' : 'WAYBILL_WORKER_ENV';
  const message = `${hostReferenceText(reference)} is not lent to this tenant: the operator does so in ${setting}`;
  return new WaybillError('forbidden', message, { field: 'secrets' });
}

function absent(reference: HostReference): WaybillError {
  return new WaybillError('not-found', `${hostReferenceText(reference)} is not there, or cannot be read`);
}

function unusable(reference: HostReference): WaybillError {
  const message = `${hostReferenceText(reference)} is no file of at most ${maxSecretBytes} bytes`;
  return new WaybillError('invalid', message);
}

import { randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { WaybillError } from '../../schema/errors.ts';

/** What `dev` tells the commands that use `--state`: state/dev.json, while it runs. The same facts are its ready line. */
export interface DevFacts {
  ready: true;
  graphql: string;
  temporal: string;
  temporalUi: string | null;
  databaseUrl: string;
  appDatabaseUrl: string;
  apiKeyFile: string;
  pids: { api: number | null; workers: number[]; temporal: number | null; postgres: number | null };
}

export interface StateFolder {
  /** Absolute. */
  path: string;
  apiKeyFile: string;
  temporalFolder: string;
  logFile(name: string): string;
  /** 32 bytes; made at the first call. Throws invalid when the file or `given` (base64) is not such a key. */
  masterKey(given: string | null): Buffer;
  /** Holds what Temporal's UI shows the API, so that it decodes payloads for it; made at the first call. */
  codecTokenFile(): string;
  readApiKey(): string | null;
  writeApiKey(secret: string): void;
  writeFacts(facts: DevFacts): void;
  removeFacts(): void;
}

const masterKeyBytes = 32;
const codecTokenBytes = 32;

/** Opens the state folder, making it when it is absent; others cannot list it. */
export function openStateFolder(path: string): StateFolder {
  const folder = resolve(path);
  const file = (name: string): string => join(folder, name);
  mkdirSync(folder, { recursive: true });
  // As root PostgreSQL runs as another account, which must pass through; every file here is for its owner alone anyway.
  chmodSync(folder, process.getuid?.() === 0 ? 0o711 : 0o700);
  mkdirSync(file('logs'), { recursive: true, mode: 0o700 });
  return {
    path: folder,
    apiKeyFile: file('api-key'),
    temporalFolder: file('temporal'),
    logFile: (name) => file(`logs/${name}.log`),
    masterKey(given) {
      if (given !== null) return decodeKey(given, 'WAYBILL_MASTER_KEY');
      const known = readOptional(file('master.key'));
      if (known !== null) return decodeKey(known.trim(), file('master.key'));
      const key = randomBytes(masterKeyBytes);
      writePrivate(file('master.key'), `${key.toString('base64')}\n`);
      return key;
    },
    codecTokenFile() {
      const path = file('codec-token');
      if (readOptional(path) === null) writePrivate(path, `${randomBytes(codecTokenBytes).toString('base64url')}\n`);
      return path;
    },
    readApiKey: () => readOptional(file('api-key'))?.trim() ?? null,
    writeApiKey: (secret) => writePrivate(file('api-key'), `${secret}\n`),
    writeFacts: (facts) => writePrivate(file('dev.json'), `${JSON.stringify(facts)}\n`),
    removeFacts: () => rmSync(file('dev.json'), { force: true }),
  };
}

/** The facts of the `dev` that runs on that state, or null. */
export function readDevFacts(path: string): DevFacts | null {
  const text = readOptional(join(resolve(path), 'dev.json'));
  return text === null ? null : (JSON.parse(text) as DevFacts);
}

function decodeKey(text: string, where: string): Buffer {
  const key = Buffer.from(text, 'base64');
  if (key.length === masterKeyBytes) return key;
  throw new WaybillError('invalid', `${where} does not hold ${masterKeyBytes} bytes in base64`);
}

function writePrivate(path: string, text: string): void {
  const draft = `${path}.${process.pid}`;
  writeFileSync(draft, text, { mode: 0o600 });
  renameSync(draft, path);
}

function readOptional(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

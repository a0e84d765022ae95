import { createHash, randomUUID } from 'node:crypto';
import type { Connector } from '../../connectors/contract.ts';
import { asWaybillError } from '../../schema/errors.ts';

/** What the endpoint's account may do in a folder; null: it could not be tried. */
export interface EndpointRights {
  list: boolean | null;
  read: boolean | null;
  write: boolean | null;
  rename: boolean | null;
  delete: boolean | null;
}

interface Probe {
  rights: EndpointRights;
  /** How far the server's clock is ahead of ours, by the time it gave to a file; null: it gives none. */
  clockSkewMs: number | null;
  /** What the probe left behind because the account may write and not delete. */
  left: string | null;
}

const probeText = Buffer.from('This file tells what this account may do. It can be removed.\n');

/**
 * Tries what the account may do, in a folder of its own below `folder`, and removes it. A right that is missing is an
 * answer; throws what else goes wrong, and not-found when `folder` is not there.
 */
export async function probe(connector: Connector, folder: string, signal: AbortSignal): Promise<Probe> {
  const base = folder === '/' ? '' : folder;
  const place = `${base}/.waybill-probe-${randomUUID()}`;
  const [file, renamed] = [`${place}/probe.txt`, `${place}/renamed.txt`];
  const rights: EndpointRights = { list: null, read: null, write: null, rename: null, delete: null };
  const found: { path: string | null } = { path: null };
  rights.list = await may(async () => {
    found.path = await firstFile(connector, folder, signal);
  });
  let clockSkewMs: number | null = null;
  let present: string | null = null;
  try {
    const beganAtMs = Date.now();
    rights.write = await may(
      () => write(connector, file, signal),
      () => firstFile(connector, folder, signal),
    );
    if (rights.write) {
      present = file;
      clockSkewMs = await skewOf(connector, file, (beganAtMs + Date.now()) / 2, signal);
    }
    const readable = present ?? found.path;
    rights.read = readable === null ? null : await may(() => readFirst(connector, readable, signal));
    const { rename } = connector;
    if (present !== null && rename !== undefined) {
      rights.rename = await may(() => rename.call(connector, file, renamed, { replace: false }, signal));
      if (rights.rename) present = renamed;
    }
    if (present !== null) rights.delete = await may(() => connector.remove(present!, signal));
    if (rights.delete) present = null;
  } finally {
    // Whatever went wrong, on the deadline too: what was made goes.
    const late = AbortSignal.timeout(cleanUpMs);
    for (const path of [file, renamed]) await connector.remove(path, late).catch(() => undefined);
    await connector.removeFolder?.(place, late).catch(() => undefined);
  }
  return { rights, clockSkewMs, left: present };
}

const cleanUpMs = 5_000;

/** Some servers refuse without saying why: when `answers` shows that the connection still works, that is a missing right too. */
async function may(work: () => Promise<unknown>, answers?: () => Promise<unknown>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (thrown) {
    const { kind } = asWaybillError(thrown);
    if (kind === 'forbidden' || kind === 'unsupported') return false;
    if (kind !== 'unavailable' || answers === undefined) throw thrown;
    await answers().catch(() => {
      throw thrown;
    });
    return false;
  }
}

async function firstFile(connector: Connector, folder: string, signal: AbortSignal): Promise<string | null> {
  for await (const page of connector.list(folder, { recursive: false }, signal)) {
    const file = page.find(({ kind }) => kind === 'file');
    return file?.path ?? null;
  }
  return null;
}

async function readFirst(connector: Connector, path: string, signal: AbortSignal): Promise<void> {
  const source = await connector.open(path, {}, signal);
  try {
    await source.read(Buffer.alloc(1), 0, signal);
  } finally {
    await source.close();
  }
}

async function write(connector: Connector, path: string, signal: AbortSignal): Promise<void> {
  const options = { size: probeText.length, deliveryId: randomUUID(), replace: false, modified: null };
  const sink = await connector.begin(path, options, signal);
  try {
    await sink.write(probeText, 0, signal);
    await sink.seal({ sha256: createHash('sha256').update(probeText).digest('hex') }, signal);
    await sink.commit(signal);
  } catch (error) {
    await sink.abort();
    throw error;
  }
}

/** The server stamped the file while it was written, many to the second. */
async function skewOf(
  connector: Connector,
  path: string,
  writtenAtMs: number,
  signal: AbortSignal,
): Promise<number | null> {
  const { modified } = await connector.stat(path, signal);
  if (modified === null) return null;
  const stampMs = Date.parse(modified);
  return Math.round(stampMs + (stampMs % 1000 === 0 ? 500 : 0) - writtenAtMs);
}

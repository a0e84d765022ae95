import { createHash } from 'node:crypto';
import { expect } from 'vitest';
import { WaybillError } from '../../schema/errors.ts';
import type { Connector, Entry, Sink } from '../contract.ts';

/** An endpoint that begins empty. `close` ends the connector and whatever serves it. */
export interface Opened {
  connector: Connector;
  close(): Promise<void>;
  /** Connections or descriptors that are open for the connector right now: none after `connector.close()`. */
  openConnections?(): Promise<number>;
}

/** One promise of the contract, as a sentence about behaviour, and its proof. */
export interface ConnectorPromise {
  sentence: string;
  prove(connector: Connector): Promise<void>;
}

export function never(): AbortSignal {
  return new AbortController().signal;
}

let deliveries = 0;
export function write(size: number) {
  return { size, deliveryId: `dlv_${++deliveries}`, replace: false, modified: null };
}

type Changes = Partial<{ replace: boolean; modified: string; deliveryId: string }>;

export async function filled(
  connector: Connector,
  path: string,
  content: Buffer,
  changes: Changes = {},
): Promise<Sink> {
  const sink = await connector.begin(path, { ...write(content.length), ...changes }, never());
  await sink.write(content, 0, never());
  await sink.seal({ sha256: digest(content) }, never());
  return sink;
}

export async function put(connector: Connector, path: string, content: Buffer, changes: Changes = {}): Promise<Entry> {
  return (await filled(connector, path, content, changes)).commit(never());
}

export async function read(connector: Connector, path: string): Promise<Buffer> {
  const source = await connector.open(path, {}, never());
  try {
    const content = Buffer.alloc(source.size + 1);
    return content.subarray(0, await source.read(content, 0, never()));
  } finally {
    await source.close();
  }
}

/** Nothing is left of a write, as far as it can be seen. */
export async function expectNothingAt(connector: Connector, { temporaryPath }: Sink): Promise<void> {
  if (temporaryPath !== null) await rejects('not-found', () => connector.stat(temporaryPath, never()));
}

export async function listAll(connector: Connector, folder: string, recursive = false): Promise<Entry[]> {
  const entries: Entry[] = [];
  for await (const page of connector.list(folder, { recursive }, never())) entries.push(...page);
  return entries;
}

export async function rejects(kind: string, work: () => Promise<unknown>): Promise<void> {
  const error = await work().then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error, `expected ${kind}`).toBeInstanceOf(WaybillError);
  expect((error as WaybillError).kind, (error as WaybillError).message).toBe(kind);
}

export async function atATime<Item>(
  limit: number,
  items: readonly Item[],
  work: (item: Item) => Promise<unknown>,
): Promise<void> {
  const waiting = [...items];
  const worker = async () => {
    for (let item = waiting.pop(); item !== undefined; item = waiting.pop()) await work(item);
  };
  await Promise.all(Array.from({ length: limit }, worker));
}

/** Asks again until it is so; what it still says after the deadline is thrown. */
export async function eventually(check: () => Promise<void>): Promise<void> {
  const deadlineAt = performance.now() + 10_000;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (performance.now() > deadlineAt) throw error;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

export function digest(content: Uint8Array): string {
  return createHash('sha256').update(content).digest('hex');
}

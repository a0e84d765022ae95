import { createHash } from 'node:crypto';
import { expect } from 'vitest';
import { WaybillError } from '../../schema/errors.ts';
import type { BeginOptions, Capabilities, Connector, Entry, Sink, SinkToken } from '../contract.ts';
import type { Faults } from './faults.ts';

/** An endpoint that begins empty. `close` ends the connector and whatever serves it. */
export interface Opened {
  connector: Connector;
  close(): Promise<void>;
  /** Another connector for the same endpoint, as another process would open it. Whoever asked closes it. */
  reopen?(): Promise<Connector> | Connector;
  /** Connections or descriptors that are open for these connectors right now: none after `connector.close()`. */
  openConnections?(): Promise<number>;
  /** So many connections the server sees at most, whatever is asked of one connector; needs `openConnections`. */
  mostConnections?: number;
  /** MiB by which the process grows at most while a large file is written and read. */
  memoryMiB?: number;
  /** Makes files of one byte behind the connector's back, where that is faster than through it. */
  makeFiles?(paths: readonly string[]): Promise<void>;
  /** Makes a file of so many bytes behind the connector's back: zeros that take no room, and an `x` at each of the places. */
  makeSparse?(path: string, bytes: number, places: readonly number[]): Promise<void>;
  /** Makes a symbolic link at `path` that leads to `target`, as a program on the server would. */
  makeLink?(path: string, target: string): Promise<void>;
  /** What can go wrong there, as far as the opener can arrange it. */
  faults?: Faults;
}

/** One promise of the contract, as a sentence about behaviour, and its proof. */
export interface ConnectorPromise {
  sentence: string;
  /** What makes the promise one: with it the sentence cannot be skipped, without it nothing is proven. Absent: every connector promises it. */
  needs?: Need;
  prove(connector: Connector, opened: Opened, random: Random): Promise<void>;
}

export interface Need {
  /** For the line that says why nothing was proven: `the capability resume`. */
  words: string;
  isThere(connector: Connector, opened: Opened): boolean;
  /** The connector itself says that it can: then a skip is red. Else it is the opener that offers something. */
  declared: boolean;
}

/** Gives a function that adds promises to a list, so that a group reads as sentences and their proofs. */
export function into(promises: ConnectorPromise[]) {
  return (sentence: string, prove: ConnectorPromise['prove'], needs?: Need): void => {
    promises.push({ sentence, prove, ...(needs && { needs }) });
  };
}

type Switch = { [Name in keyof Capabilities]: Capabilities[Name] extends boolean ? Name : never }[keyof Capabilities];

export function capability(name: Switch): Need {
  return { words: `the capability ${name}`, isThere: ({ capabilities }) => capabilities[name], declared: true };
}

/** A method that a connector may leave out. What it means may differ by protocol, so that a skip with a reason is allowed. */
export function method(name: 'makeFolder' | 'sweep'): Need {
  return { words: `the method ${name}`, isThere: (connector) => connector[name] !== undefined, declared: false };
}

export function offered(name: keyof Opened): Need {
  return {
    words: `\`${name}\` of what was opened`,
    isThere: (_, opened) => opened[name] !== undefined,
    declared: false,
  };
}

export function both(one: Need, other: Need): Need {
  return {
    words: `${one.words} and ${other.words}`,
    isThere: (connector, opened) => one.isThere(connector, opened) && other.isThere(connector, opened),
    declared: one.declared || other.declared,
  };
}

/** Why a sentence is not proven, or undefined when it is to be. Throws for a skip of what the connector itself declares. */
export function whyNotProven(
  { needs }: ConnectorPromise,
  opened: Opened,
  reason: string | undefined,
): string | undefined {
  const isThere = needs === undefined || needs.isThere(opened.connector, opened);
  if (reason === undefined) return isThere ? undefined : `not promised: ${needs.words} is not there`;
  if (needs?.declared && isThere) throw new Error(`${needs.words} is declared, so it cannot be skipped (${reason})`);
  return reason;
}

/** Numbers that a seed decides (mulberry32): what was red is found again. */
export class Random {
  readonly seed: number;
  #state: number;

  constructor(seed: number) {
    this.seed = seed;
    this.#state = seed >>> 0;
  }

  /** A whole number, both ends included. */
  between(least: number, most: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    const fraction = ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
    return least + Math.floor(fraction * (most - least + 1));
  }
}

export function never(): AbortSignal {
  return new AbortController().signal;
}

let deliveries = 0;
export function write(size: number) {
  return { size, deliveryId: `dlv_${process.pid}_${++deliveries}`, replace: false, modified: null };
}

type Changes = Partial<Omit<BeginOptions, 'size'>>;

/** Bytes of the pieces in which a file of that size is written: parts where the connector wants them, else blocks. */
export function pieceBytes({ capabilities: { parts, blockBytes } }: Connector, size: number): number {
  return parts === null ? blockBytes : Math.max(parts.bytes, Math.ceil(size / parts.most));
}

/** Writes everything from `from` on, in pieces, as many at once as declared. */
export async function send(connector: Connector, sink: Sink, content: Buffer, from = 0): Promise<void> {
  const bytes = pieceBytes(connector, content.length);
  const starts: number[] = [];
  for (let at = from; at < content.length; at += bytes) starts.push(at);
  await atATime(connector.capabilities.writesInFlight, starts, (at) =>
    sink.write(content.subarray(at, at + bytes), at, never()),
  );
}

/** A write up to and with `seal`: one `commit` before it is visible. */
export async function filled(
  connector: Connector,
  path: string,
  content: Buffer,
  changes: Changes = {},
): Promise<Sink> {
  const sink = await connector.begin(path, { ...write(content.length), ...changes }, never());
  await send(connector, sink, content);
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

/** Removes what an unfinished write has left, as the engine does it for a process that is no more. */
export async function discard(connector: Connector, token: SinkToken, temporaryPath: string | null): Promise<void> {
  if (connector.discard) await connector.discard(token, never());
  else if (temporaryPath !== null) await connector.remove(temporaryPath, never());
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
  let next = 0;
  const worker = async () => {
    while (next < items.length) await work(items[next++]!);
  };
  await Promise.all(Array.from({ length: limit }, worker));
}

/** Asks again until it is so; what it still says after the deadline is thrown. */
export async function eventually(check: () => Promise<void>, withinMs = 10_000): Promise<void> {
  const deadlineAt = performance.now() + withinMs;
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

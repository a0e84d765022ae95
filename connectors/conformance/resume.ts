import { randomBytes } from 'node:crypto';
import { expect } from 'vitest';
import type { BeginOptions, Connector, Sink, SinkToken } from '../contract.ts';
import {
  both,
  type ConnectorPromise,
  capability,
  digest,
  discard,
  into,
  listAll,
  type Need,
  never,
  offered,
  pieceBytes,
  put,
  type Random,
  read,
  rejects,
  send,
  write,
} from './steps.ts';

const rounds = 20;
const maxTokenCharacters = 2000;

/** A write that was abandoned goes on from what the server really has. */
export const resumePromises: ConnectorPromise[] = [];
const promise = into(resumePromises);
const resume = capability('resume');
const anyPieces: Need = {
  words: 'writing in any pieces (no parts)',
  isThere: ({ capabilities }) => capabilities.parts === null,
  declared: false,
};

promise(
  `a write that is abandoned ${rounds} times at random points goes on from what the server has, and arrives whole`,
  async (_, opened, random) => {
    const abandoned = new Abandoned(await opened.reopen!(), random);
    try {
      for (let round = 0; round < rounds; round++) await abandoned.writeUntilKilled(() => opened.reopen!());
      await abandoned.finish();
    } finally {
      await abandoned.end();
    }
  },
  both(resume, offered('reopen')),
);

promise(
  'leave keeps what was written, and the next attempt goes on from there',
  async (connector) => {
    const bytes = pieceBytes(connector, 1);
    const content = randomBytes(3 * bytes);
    const options = write(content.length);
    const first = await connector.begin('/left/file.bin', options, never());
    for (const at of [0, bytes]) await first.write(content.subarray(at, at + bytes), at, never());
    await first.leave();
    await first.leave();
    const next = await connector.begin(
      '/left/file.bin',
      { ...options, resume: carried(first.token), windowBytes: 0 },
      never(),
    );
    expect(next.received).toBe(2 * bytes);
    await send(connector, next, content, next.received);
    await next.seal({ sha256: digest(content) }, never());
    await next.commit(never());
    expect(digest(await read(connector, '/left/file.bin'))).toBe(digest(content));
    expect(await listAll(connector, '/left')).toHaveLength(1);
  },
  resume,
);

promise(
  'a write goes on beyond 2^32 bytes',
  async (connector, { makeSparse }) => {
    const received = 2 ** 32 - 2;
    const bytes = pieceBytes(connector, 1);
    const content = randomBytes(2 * bytes);
    const options = write(received + content.length);
    const first = await connector.begin('/beyond/written.bin', options, never());
    await first.leave();
    await makeSparse!(first.temporaryPath!, received, []);
    const resumed = { ...options, resume: carried(first.token), windowBytes: 0 };
    const next = await connector.begin('/beyond/written.bin', resumed, never());
    expect(next.received).toBe(received);
    for (const at of [0, bytes]) await next.write(content.subarray(at, at + bytes), received + at, never());
    await next.seal({ sha256: '' }, never());
    expect(await next.commit(never())).toMatchObject({ size: options.size });
    const source = await connector.open('/beyond/written.bin', {}, never());
    const tail = Buffer.alloc(content.length + 1);
    for (let at = 0; at < tail.length; ) {
      const got = await source.read(tail.subarray(at), received - 1 + at, never());
      if (got === 0) break;
      at += got;
    }
    await source.close();
    expect(digest(tail)).toBe(digest(Buffer.concat([Buffer.alloc(1), content])));
    await connector.remove('/beyond/written.bin', never());
  },
  both(both(resume, offered('makeSparse')), anyPieces),
);

promise(
  'what may have holes is not taken for received',
  async (connector) => {
    const bytes = pieceBytes(connector, 1);
    const content = randomBytes(4 * bytes);
    const options = write(content.length);
    const first = await connector.begin('/holes/file.bin', options, never());
    // The third piece was in flight with the second, which never arrived.
    for (const at of [0, 2 * bytes]) await first.write(content.subarray(at, at + bytes), at, never());
    await first.leave();
    const again = { ...options, resume: carried(first.token), windowBytes: 2 * bytes };
    const next = await connector.begin('/holes/file.bin', again, never());
    expect(next.received).toBeLessThanOrEqual(bytes);
    await send(connector, next, content, next.received);
    await next.seal({ sha256: digest(content) }, never());
    await next.commit(never());
    expect(digest(await read(connector, '/holes/file.bin'))).toBe(digest(content));
  },
  resume,
);

promise(
  'holds knows what was written from other bytes',
  async (connector) => {
    const bytes = pieceBytes(connector, 1);
    const content = randomBytes(3 * bytes);
    const options = write(content.length);
    const first = await connector.begin('/held/file.bin', options, never());
    for (const at of [0, bytes]) await first.write(content.subarray(at, at + bytes), at, never());
    await first.leave();
    const next = await connector.begin(
      '/held/file.bin',
      { ...options, resume: carried(first.token), windowBytes: 0 },
      never(),
    );
    // Of what is far before the end a connector may say that it cannot tell, which is true; the last block it must know.
    expect(next.received).toBe(2 * bytes);
    if (next.holds) {
      const last = next.received - bytes;
      expect(await next.holds(content.subarray(last, last + bytes), last, never())).toBe(true);
      expect(await next.holds(randomBytes(bytes), last, never())).toBe(false);
      expect(await next.holds(content.subarray(0, bytes), 0, never())).toBe(true);
    }
    await next.abort();
  },
  resume,
);

promise('a token is small and survives as JSON', async (connector) => {
  const sink = await connector.begin('/token/file.bin', write(1), never());
  expect(carried(sink.token)).toEqual(sink.token);
  expect(JSON.stringify(sink.token).length).toBeLessThan(maxTokenCharacters);
  await sink.abort();
});

promise(
  'discard removes what an abandoned write left, twice too, and a token of which nothing is left begins anew',
  async (connector) => {
    const bytes = pieceBytes(connector, 1);
    const content = randomBytes(2 * bytes);
    const options = write(content.length);
    const first = await connector.begin('/discarded/file.bin', options, never());
    await first.write(content.subarray(0, bytes), 0, never());
    await first.leave();
    const token = carried(first.token);
    for (let time = 0; time < 2; time++) await discard(connector, token, first.temporaryPath);
    if (first.temporaryPath !== null) await rejects('not-found', () => connector.stat(first.temporaryPath!, never()));
    const next = await connector.begin('/discarded/file.bin', { ...options, resume: token, windowBytes: 0 }, never());
    expect(next.received).toBe(0);
    await send(connector, next, content);
    await next.seal({ sha256: digest(content) }, never());
    await next.commit(never());
    expect(digest(await read(connector, '/discarded/file.bin'))).toBe(digest(content));
    await discard(connector, token, null);
    expect(await listAll(connector, '/discarded')).toHaveLength(1);
  },
  resume,
);

promise(
  'a resumed write that is aborted leaves nothing, and the published file as it was',
  async (connector) => {
    await put(connector, '/given-up/file.bin', Buffer.from('published'));
    const bytes = pieceBytes(connector, 1);
    const options = { ...write(2 * bytes), replace: true };
    const first = await connector.begin('/given-up/file.bin', options, never());
    await first.write(randomBytes(bytes), 0, never());
    await first.leave();
    const next = await connector.begin(
      '/given-up/file.bin',
      { ...options, resume: carried(first.token), windowBytes: 0 },
      never(),
    );
    await next.abort();
    if (next.temporaryPath !== null) await rejects('not-found', () => connector.stat(next.temporaryPath!, never()));
    expect((await read(connector, '/given-up/file.bin')).toString()).toBe('published');
  },
  resume,
);

/** One file on its way, whose writer dies again and again. */
class Abandoned {
  readonly #random: Random;
  readonly #pieceBytes: number;
  readonly #most: number;
  readonly #content: Buffer;
  readonly #options: BeginOptions;
  readonly #left: Sink[] = [];
  #connector: Connector;
  #token: SinkToken | undefined;
  /** Bytes from the start that the server has acknowledged without a gap. */
  #acknowledged = 0;
  #sentBytes = 0;
  #inFlight: Promise<unknown> = Promise.resolve();

  constructor(connector: Connector, random: Random) {
    this.#connector = connector;
    this.#random = random;
    const { parts } = connector.capabilities;
    this.#pieceBytes = pieceBytes(connector, 1);
    // Parts are large: fewer of them tell as much.
    this.#content = randomBytes((parts === null ? 48 : 6) * this.#pieceBytes + 12_345);
    this.#most = Math.min(connector.capabilities.writesInFlight, parts === null ? 8 : 2);
    this.#options = { ...write(this.#content.length), modified: null };
  }

  get #windowBytes(): number {
    return this.#most * this.#pieceBytes;
  }

  async writeUntilKilled(reopen: () => Promise<Connector> | Connector): Promise<void> {
    const sink = await this.#begin();
    const from = sink.received;
    const until = from + this.#random.between(0, this.#most + 2) * this.#pieceBytes;
    let at = from;
    const acknowledged: number[] = [];
    while (at < Math.min(until, this.#content.length)) {
      const starts = this.#startsFrom(at, Math.min(until, this.#content.length));
      const writing = Promise.allSettled(starts.map((start) => this.#write(sink, start, acknowledged)));
      at = Math.min(starts.at(-1)! + this.#pieceBytes, this.#content.length);
      // The last of them are in flight when the writer dies.
      if (at < Math.min(until, this.#content.length)) await writing;
      else this.#inFlight = writing;
    }
    await this.#connector.close();
    await this.#inFlight;
    for (const start of acknowledged.sort((one, other) => one - other))
      if (start <= this.#acknowledged) this.#acknowledged = Math.max(this.#acknowledged, start + this.#pieceBytes);
    this.#left.push(sink);
    this.#connector = await reopen();
  }

  async finish(): Promise<void> {
    const sink = await this.#begin();
    this.#sentBytes += this.#content.length - sink.received;
    await send(this.#connector, sink, this.#content, sink.received);
    await sink.seal({ sha256: digest(this.#content) }, never());
    await sink.commit(never());
    expect(digest(await read(this.#connector, '/abandoned/file.bin'))).toBe(digest(this.#content));
    expect(await listAll(this.#connector, '/abandoned')).toHaveLength(1);
    expect(this.#sentBytes).toBeLessThanOrEqual(this.#content.length + rounds * this.#windowBytes);
  }

  async end(): Promise<void> {
    for (const sink of this.#left) await sink.leave();
    await this.#connector.close();
  }

  async #begin(): Promise<Sink> {
    const resumed = this.#token && { resume: carried(this.#token), windowBytes: this.#windowBytes };
    const sink = await this.#connector.begin('/abandoned/file.bin', { ...this.#options, ...resumed }, never());
    this.#token = sink.token;
    if (resumed) {
      expect(sink.received).toBeGreaterThanOrEqual(
        Math.min(this.#acknowledged, this.#content.length) - this.#windowBytes,
      );
      expect(sink.received).toBeLessThanOrEqual(this.#content.length);
      await this.#lookAt(sink);
    } else expect(sink.received).toBe(0);
    return sink;
  }

  /** What is said to be there is there. */
  async #lookAt(sink: Sink): Promise<void> {
    if (!sink.holds || sink.received < this.#pieceBytes) return;
    const at = (Math.floor(sink.received / this.#pieceBytes) - 1) * this.#pieceBytes;
    expect(await sink.holds(this.#content.subarray(at, at + this.#pieceBytes), at, never())).toBe(true);
  }

  #startsFrom(at: number, until: number): number[] {
    const starts: number[] = [];
    for (let start = at; start < until && starts.length < this.#most; start += this.#pieceBytes) starts.push(start);
    return starts;
  }

  async #write(sink: Sink, start: number, acknowledged: number[]): Promise<void> {
    const bytes = this.#content.subarray(start, start + this.#pieceBytes);
    this.#sentBytes += bytes.length;
    await sink.write(bytes, start, never());
    acknowledged.push(start);
  }
}

/** As the ledger keeps it. */
function carried(token: SinkToken): SinkToken {
  return JSON.parse(JSON.stringify(token));
}

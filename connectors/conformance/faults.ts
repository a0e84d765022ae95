import { randomBytes } from 'node:crypto';
import { expect } from 'vitest';
import { type ErrorKind, errorKinds, WaybillError } from '../../schema/errors.ts';
import type { Connector, Entry, Sink } from '../contract.ts';
import {
  type ConnectorPromise,
  digest,
  eventually,
  expectNothingAt,
  listAll,
  never,
  put,
  read,
  send,
  write,
} from './steps.ts';

/** What can go wrong at the endpoint under test, each as its opener can arrange it. Their connectors are closed by the opener. */
export interface Faults {
  /**
   * The same endpoint, its root the same, through a line that can be made faulty. The connector is impatient: it gives up
   * within `deadlineMs`, but waits for 1.2 s at least while the line is slow.
   */
  line?: { connector: Connector; proxy: FaultyLine; deadlineMs: number };
  /** The same endpoint with a password or key that its server does not know. */
  wrongSecret?: Connector;
  /** A server that shows another host key than the endpoint expects. */
  changedHostKey?: Connector;
  /** A server that shows a certificate that is past its time. */
  expiredCertificate?: Connector;
  /** An endpoint with room for a MiB, but not for eight. */
  fullDisk?: Connector;
  /** An endpoint that holds `/there.txt` with the text `there`, and lets nothing be changed. */
  readOnly?: Connector;
  /** A server that asks each time to come back later. */
  busy?: { connector: Connector; retryAfterMs: number };
}

/** What the suite asks of a proxy. A connector or a test need not know how it does that. */
export interface FaultyLine {
  /** Bytes passed on so far. */
  carried(): { server: number; client: number };
  /** Passes nothing and closes nothing. */
  stall(): void;
  /** Ends every connection at once. */
  reset(): void;
  /** Ends each connection after that many more bytes in that direction. */
  cutAfter(bytes: number, towards: 'server' | 'client'): void;
  /** Says that side that no more will come, and drops what still does. */
  halfClose(towards: 'server' | 'client'): void;
  shape(shape: { bytesPerSecond?: number; latencyMs?: number; sliceBytes?: number }): void;
  /** Every fault is over. */
  heal(): void;
}

/** What goes wrong outside of us: it ends in the right kind, in time, with nothing visible, and is over when it is over. */
export const faultPromises: ConnectorPromise[] = [];

const wideBytes = 2 * 1024 * 1024;
const slowBytesPerSecond = 1024 * 1024;
const underWayBytes = 300 * 1024;

interface Break {
  words: string;
  kind: ErrorKind;
  /** `towards` is where the bytes of the file go. */
  happen(proxy: FaultyLine, towards: 'server' | 'client'): void;
}

const breaks: Break[] = [
  { words: 'a connection that is reset', kind: 'unavailable', happen: (proxy) => proxy.reset() },
  { words: 'a connection that falls silent', kind: 'timeout', happen: (proxy) => proxy.stall() },
  {
    words: 'a connection that is cut after some more bytes',
    kind: 'unavailable',
    happen: (proxy, towards) => proxy.cutAfter(100_000, towards),
  },
  {
    words: 'a connection whose server has closed its half',
    kind: 'unavailable',
    happen: (proxy) => proxy.halfClose('client'),
  },
  {
    words: 'a connection whose server was told that we have closed ours',
    kind: 'unavailable',
    happen: (proxy) => proxy.halfClose('server'),
  },
];

for (const { words, kind, happen } of breaks) {
  overLine(
    `${words} in the middle of a read ends it in ${kind}, and the next one succeeds`,
    async (line, connector) => {
      const content = await placed(connector, '/faults/read.bin', wideBytes);
      const source = await line.connector.open('/faults/read.bin', {}, never());
      line.proxy.shape({ bytesPerSecond: slowBytesPerSecond });
      const reading = source.read(Buffer.alloc(wideBytes), 0, never());
      await endsIn(kind, line, reading, 'client', happen);
      line.proxy.heal();
      await source.close();
      expect(digest(await read(line.connector, '/faults/read.bin'))).toBe(digest(content));
    },
  );

  overLine(
    `${words} in the middle of a write ends it in ${kind}, with nothing half visible, and the next one succeeds`,
    async (line, connector) => {
      const content = randomBytes(wideBytes);
      const path = `/faults/write-${words.length}.bin`;
      const sink = await line.connector.begin(path, write(wideBytes), never());
      line.proxy.shape({ bytesPerSecond: slowBytesPerSecond });
      await endsIn(kind, line, published(line.connector, sink, content), 'server', happen);
      await expectWholeOrAbsent(connector, path, content);
      line.proxy.heal();
      await sink.abort();
      await expectNothingAt(connector, sink);
      await expectWholeOrAbsent(connector, path, content);
      await put(line.connector, path, content, { replace: true });
      expect(digest(await read(connector, path))).toBe(digest(content));
    },
  );
}

overLine('a server that never answers ends the first call in timeout, and the next one succeeds', async (line) => {
  const { connector, proxy, deadlineMs } = line;
  // What was open before is gone, and known to be gone: the next call connects.
  proxy.cutAfter(0, 'server');
  await fails('unavailable', connector.stat('/', never()));
  proxy.heal();
  proxy.stall();
  const startedAt = performance.now();
  await fails('timeout', connector.stat('/', never()));
  expect(performance.now() - startedAt).toBeLessThan(deadlineMs);
  proxy.heal();
  await connector.check(never());
});

overLine('a connection that breaks while nothing is asked is replaced', async ({ connector, proxy }) => {
  await put(connector, '/faults/idle.txt', Buffer.from('idle'), { replace: true });
  for (const end of [() => proxy.reset(), () => proxy.halfClose('client')]) {
    end();
    await eventually(async () => expect((await read(connector, '/faults/idle.txt')).toString()).toBe('idle'));
  }
});

for (const [words, shape, bytes] of [
  ['a slow line', { bytesPerSecond: 512 * 1024 }, 640 * 1024],
  ['a line that delivers in slices', { sliceBytes: 97 }, 300 * 1024],
  ['a line with a long way', { latencyMs: 60 }, 600 * 1024],
] as const) {
  overLine(`${words} only takes longer, for a write and for a read`, async ({ connector, proxy }) => {
    const content = randomBytes(bytes);
    // A new connection: signing in goes over that line too.
    proxy.reset();
    proxy.shape(shape);
    await eventually(() => connector.check(never()).then(() => undefined));
    await put(connector, '/faults/shaped.bin', content, { replace: true });
    expect(digest(await read(connector, '/faults/shaped.bin'))).toBe(digest(content));
  });
}

refused('wrongSecret', 'a secret that the server does not know');
refused('changedHostKey', 'a server with another host key than the trusted ones');
refused('expiredCertificate', 'a server whose certificate has expired');

withFault('a host key that is refused is named, beside the trusted ones', 'changedHostKey', async (connector) => {
  const { message } = await fails('unauthenticated', connector.check(never()));
  expect(message.match(/SHA256:[A-Za-z0-9+/]{43}/g)?.length).toBeGreaterThanOrEqual(2);
});

withFault(
  'a disk that is full ends a write in disk-full, with nothing left, and what fits is written afterwards',
  'fullDisk',
  async (connector) => {
    const content = randomBytes(8 * 1024 * 1024);
    const sink = await connector.begin('/full/large.bin', write(content.length), never());
    await fails('disk-full', published(connector, sink, content));
    await sink.abort();
    await expectNothingAt(connector, sink);
    expect(await listIfThere(connector, '/full')).toEqual([]);
    await put(connector, '/full/small.bin', content.subarray(0, 512 * 1024));
    expect((await read(connector, '/full/small.bin')).length).toBe(512 * 1024);
  },
);

withFault(
  'an endpoint that lets nothing be changed is forbidden to write to, and can still be read',
  'readOnly',
  async (connector) => {
    expect((await read(connector, '/there.txt')).toString()).toBe('there');
    await fails('forbidden', put(connector, '/new.txt', Buffer.from('new')));
    await fails('forbidden', connector.remove('/there.txt', never()));
    if (connector.rename)
      await fails('forbidden', connector.rename('/there.txt', '/elsewhere.txt', { replace: false }, never()));
    expect((await listAll(connector, '/')).map(({ name }) => name)).toEqual(['there.txt']);
  },
);

withFault(
  'a server that asks to come back later is rate-limited, and the error says how long to wait',
  'busy',
  async ({ connector, retryAfterMs }) => {
    const calls = [
      () => connector.stat('/x', never()),
      () => listAll(connector, '/'),
      () => put(connector, '/x', Buffer.from('x')),
    ];
    for (const call of calls) expect((await fails('rate-limited', call())).context.retryAfterMs).toBe(retryAfterMs);
  },
);

type Line = NonNullable<Faults['line']>;

/** The line is whole before and afterwards, whatever came about. */
function overLine(sentence: string, prove: (line: Line, connector: Connector) => Promise<void>): void {
  withFault(sentence, 'line', async (line, connector) => {
    line.proxy.heal();
    await eventually(() => line.connector.check(never()).then(() => undefined));
    try {
      await prove(line, connector);
    } finally {
      line.proxy.heal();
    }
  });
}

/** `prove` gets what the opener offers under that name; where it offers nothing, nothing is proven. */
function withFault<Name extends keyof Faults>(
  sentence: string,
  name: Name,
  prove: (fault: NonNullable<Faults[Name]>, connector: Connector) => Promise<void>,
): void {
  faultPromises.push({
    sentence,
    needs: {
      words: `\`faults.${name}\` of what was opened`,
      isThere: (_, { faults }) => faults?.[name] !== undefined,
      declared: false,
    },
    prove: (connector, { faults }) => prove(faults![name]!, connector),
  });
}

function refused(name: 'wrongSecret' | 'changedHostKey' | 'expiredCertificate', words: string): void {
  withFault(`${words} is unauthenticated, whatever is asked`, name, async (connector) => {
    await fails('unauthenticated', connector.check(never()));
    await fails('unauthenticated', connector.stat('/x', never()));
    await fails('unauthenticated', listAll(connector, '/'));
    await fails('unauthenticated', put(connector, '/x', Buffer.from('x')));
  });
}

/** Lets it happen while bytes are on their way; `work` must end in that kind within the deadline from then on. */
async function endsIn(
  kind: ErrorKind,
  { proxy, deadlineMs }: Line,
  work: Promise<unknown>,
  towards: 'server' | 'client',
  happen: Break['happen'],
): Promise<void> {
  const already = proxy.carried()[towards];
  const ended = fails(kind, work);
  ended.catch(() => undefined);
  await eventually(async () => expect(proxy.carried()[towards] - already).toBeGreaterThan(underWayBytes));
  const startedAt = performance.now();
  happen(proxy, towards);
  const error = await ended;
  expect(performance.now() - startedAt, error.message).toBeLessThan(deadlineMs);
  expect(error.scope).toBe('connection');
  expect(error.permanent).toBe(false);
}

/** The error, which must be of that kind, say something, and have advice that is a sentence. */
async function fails(kind: ErrorKind, work: Promise<unknown>): Promise<WaybillError> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error, `expected ${kind}`).toBeInstanceOf(WaybillError);
  const failure = error as WaybillError;
  expect(failure.kind, failure.message).toBe(kind);
  expect(failure.message.length).toBeGreaterThan(10);
  expect(failure.context.advice ?? errorKinds[kind].advice).toMatch(/^[A-Z].{10,}\.$/);
  return failure;
}

async function published(connector: Connector, sink: Sink, content: Buffer): Promise<Entry> {
  await send(connector, sink, content);
  await sink.seal({ sha256: digest(content) }, never());
  return sink.commit(never());
}

/** A server may have everything although its answer was lost, and publish it: whoever asked learns that by looking. */
async function expectWholeOrAbsent(connector: Connector, path: string, content: Buffer): Promise<void> {
  const listed = (await listIfThere(connector, '/faults')).some((entry) => entry.path === path);
  if (listed) expect(digest(await read(connector, path))).toBe(digest(content));
}

async function placed(connector: Connector, path: string, bytes: number): Promise<Buffer> {
  const content = randomBytes(bytes);
  await put(connector, path, content, { replace: true });
  return content;
}

async function listIfThere(connector: Connector, folder: string): Promise<Entry[]> {
  try {
    return await listAll(connector, folder);
  } catch (error) {
    if (error instanceof WaybillError && error.kind === 'not-found') return [];
    throw error;
  }
}

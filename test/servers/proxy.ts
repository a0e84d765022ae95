import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** Bytes that the proxy holds of one direction of a connection before it takes no more. */
const heldBytes = 1024 * 1024;
/** A slow line lets a piece through this often. */
const slowPieceMs = 20;

/** Where bytes go. */
export type Direction = 'server' | 'client';

/** How a line is worse than the loopback; what is left out is as good as that. */
export interface Shape {
  /** Of all connections together, each way for itself. */
  bytesPerSecond?: number;
  /** How much later each byte arrives, each way. */
  latencyMs?: number;
  /** No write is longer: what the other side reads comes in slices. */
  sliceBytes?: number;
}

/** A TCP proxy on 127.0.0.1 that does to a connection what networks do. */
export interface TcpProxy {
  port: number;
  /** Open connections. */
  connections(): number;
  /** Bytes that have been passed on since the start, each way. */
  carried(): Readonly<Record<Direction, number>>;
  /** From now on nothing passes, and nothing is closed: a firewall that drops packets. */
  stall(): void;
  /** Ends the stall. */
  resume(): void;
  /** Ends every connection at once, as a crash of the server does. */
  reset(): void;
  /** Ends each connection after that many more bytes in that direction. */
  cutAfter(bytes: number, towards?: Direction): void;
  /** Says that side of every connection that no more will come, and drops what still does. The other way stays open. */
  halfClose(towards: Direction): void;
  /** From now on the line is like that. */
  shape(shape: Shape): void;
  /** Every fault is over, for old connections (those that are left) and new ones. */
  heal(): void;
  /** Safe twice. */
  stop(): Promise<void>;
}

interface Line {
  shape: Shape;
  isStalled: boolean;
  bytesLeft: Record<Direction, number>;
  carried: Record<Direction, number>;
  /** When the slow line has room for the next byte. */
  freeAtMs: Record<Direction, number>;
}

interface Pair {
  sockets: [Socket, Socket];
  courses: Course[];
}

export async function startProxy({ host, port }: { host: string; port: number }): Promise<TcpProxy> {
  const pairs = new Set<Pair>();
  const line: Line = {
    shape: {},
    isStalled: false,
    bytesLeft: { server: Number.POSITIVE_INFINITY, client: Number.POSITIVE_INFINITY },
    carried: { server: 0, client: 0 },
    freeAtMs: { server: 0, client: 0 },
  };

  const server = createServer({ noDelay: true, allowHalfOpen: true }, (near) => {
    const far = connect({ host, port, noDelay: true, allowHalfOpen: true });
    const end = () => {
      pairs.delete(pair);
      for (const socket of pair.sockets) socket.destroy();
    };
    const courses = [new Course(line, near, far, 'server', end), new Course(line, far, near, 'client', end)];
    const pair: Pair = { sockets: [near, far], courses };
    pairs.add(pair);
    for (const socket of pair.sockets) socket.on('error', end).on('close', end);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const eachSocket = (work: (socket: Socket) => void) => {
    for (const { sockets } of [...pairs]) for (const socket of sockets) work(socket);
  };
  const eachCourse = (work: (course: Course) => void) => {
    for (const { courses } of [...pairs]) for (const course of courses) work(course);
  };
  const resume = () => {
    line.isStalled = false;
    eachCourse((course) => course.goOn());
  };
  return {
    port: (server.address() as AddressInfo).port,
    connections: () => pairs.size,
    carried: () => ({ ...line.carried }),
    stall: () => {
      line.isStalled = true;
      eachSocket((socket) => socket.pause());
    },
    resume,
    reset: () => eachSocket((socket) => socket.resetAndDestroy()),
    cutAfter: (bytes, towards = 'server') => {
      line.bytesLeft[towards] = bytes;
    },
    halfClose: (towards) => eachCourse((course) => course.towards === towards && course.close()),
    shape: (shape) => {
      line.shape = shape;
    },
    heal: () => {
      line.shape = {};
      line.bytesLeft = { server: Number.POSITIVE_INFINITY, client: Number.POSITIVE_INFINITY };
      line.freeAtMs = { server: 0, client: 0 };
      resume();
    },
    stop: async () => {
      eachSocket((socket) => socket.destroy());
      if (server.listening) await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** One direction of one connection: what came in and has not gone out yet, in order. */
class Course {
  readonly towards: Direction;
  readonly #line: Line;
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #end: () => void;
  readonly #held: Array<{ data: Buffer; dueAtMs: number }> = [];
  #heldBytes = 0;
  #isMoving = false;
  #isFinished = false;
  #isClosed = false;

  constructor(line: Line, from: Socket, to: Socket, towards: Direction, end: () => void) {
    this.#line = line;
    this.#from = from;
    this.#to = to;
    this.towards = towards;
    this.#end = end;
    from.on('data', (data) => this.#take(data)).on('end', () => this.#finish());
    if (line.isStalled) from.pause();
  }

  /** After a stall. */
  goOn(): void {
    if (this.#heldBytes < heldBytes) this.#from.resume();
    void this.#move();
  }

  close(): void {
    this.#isClosed = true;
    this.#held.length = 0;
    this.#to.end();
    this.#from.resume();
  }

  #take(data: Buffer): void {
    if (this.#isClosed) return;
    this.#held.push({ data, dueAtMs: performance.now() + (this.#line.shape.latencyMs ?? 0) });
    this.#heldBytes += data.length;
    if (this.#heldBytes >= heldBytes) this.#from.pause();
    void this.#move();
  }

  #finish(): void {
    this.#isFinished = true;
    void this.#move();
  }

  async #move(): Promise<void> {
    if (this.#isMoving) return;
    this.#isMoving = true;
    while (!this.#line.isStalled && this.#held.length > 0 && !this.#to.destroyed) {
      const { data, dueAtMs } = this.#held[0]!;
      await until(dueAtMs);
      if (await this.#passOn(data)) this.#held.shift();
    }
    this.#isMoving = false;
    if (this.#isFinished && this.#held.length === 0 && !this.#line.isStalled) this.close();
  }

  /** Gives whether all of it has gone; else what is left stays the first. */
  async #passOn(data: Buffer): Promise<boolean> {
    const { shape, bytesLeft, carried } = this.#line;
    await this.#awaitRoom(Math.min(data.length, pieceBytes(shape)));
    if (this.#line.isStalled) return false;
    if (this.#to.destroyed || this.#isClosed) return true;
    const piece = data.subarray(0, Math.min(pieceBytes(shape), bytesLeft[this.towards]));
    if (piece.length === 0) {
      this.#end();
      return true;
    }
    bytesLeft[this.towards] -= piece.length;
    carried[this.towards] += piece.length;
    this.#heldBytes -= piece.length;
    // Slices must leave one by one, and a side that takes no more holds up the other.
    if (!this.#to.write(piece)) await drained(this.#to);
    else if (shape.sliceBytes !== undefined) await new Promise((resolve) => setImmediate(resolve));
    if (!this.#line.isStalled && this.#heldBytes < heldBytes) this.#from.resume();
    if (piece.length === data.length || this.#isClosed) return true;
    this.#held[0]!.data = data.subarray(piece.length);
    return false;
  }

  async #awaitRoom(bytes: number): Promise<void> {
    const { shape, freeAtMs } = this.#line;
    if (shape.bytesPerSecond === undefined) return;
    const startMs = Math.max(performance.now(), freeAtMs[this.towards]);
    freeAtMs[this.towards] = startMs + (bytes / shape.bytesPerSecond) * 1000;
    await until(freeAtMs[this.towards]);
  }
}

function pieceBytes({ bytesPerSecond, sliceBytes }: Shape): number {
  const inTime = bytesPerSecond === undefined ? heldBytes : Math.ceil((bytesPerSecond * slowPieceMs) / 1000);
  return Math.max(1, Math.min(inTime, sliceBytes ?? heldBytes));
}

async function until(atMs: number): Promise<void> {
  const waitMs = atMs - performance.now();
  if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
}

function drained(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const settle = () => {
      socket.off('drain', settle).off('close', settle);
      resolve();
    };
    socket.on('drain', settle).on('close', settle);
  });
}

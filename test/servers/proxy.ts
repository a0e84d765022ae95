import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** A TCP proxy on 127.0.0.1 that does to a connection what networks do. */
export interface TcpProxy {
  port: number;
  /** Open connections. */
  connections(): number;
  /** From now on nothing passes, and nothing is closed: a firewall that drops packets. */
  stall(): void;
  resume(): void;
  /** Ends every connection at once, as a crash of the server does. */
  reset(): void;
  /** Ends each connection after that many more bytes towards the server. */
  cutAfter(bytes: number): void;
  /** Safe twice. */
  stop(): Promise<void>;
}

export async function startProxy({ host, port }: { host: string; port: number }): Promise<TcpProxy> {
  const pairs = new Set<[Socket, Socket]>();
  let isStalled = false;
  let bytesLeft = Number.POSITIVE_INFINITY;

  const server = createServer({ noDelay: true }, (near) => {
    const far = connect({ host, port, noDelay: true });
    const pair: [Socket, Socket] = [near, far];
    pairs.add(pair);
    const end = () => {
      pairs.delete(pair);
      for (const socket of pair) socket.destroy();
    };
    for (const socket of pair) socket.on('error', end).on('close', end);
    near.on('data', (data) => {
      bytesLeft -= data.length;
      if (bytesLeft < 0) end();
      else pass(near, far, data);
    });
    far.on('data', (data) => pass(far, near, data));
    if (isStalled) for (const socket of pair) socket.pause();
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const eachSocket = (work: (socket: Socket) => void) => {
    for (const pair of [...pairs]) for (const socket of pair) work(socket);
  };
  return {
    port: (server.address() as AddressInfo).port,
    connections: () => pairs.size,
    stall: () => {
      isStalled = true;
      eachSocket((socket) => socket.pause());
    },
    resume: () => {
      isStalled = false;
      eachSocket((socket) => socket.resume());
    },
    reset: () => eachSocket((socket) => socket.resetAndDestroy()),
    cutAfter: (bytes) => {
      bytesLeft = bytes;
    },
    stop: async () => {
      eachSocket((socket) => socket.destroy());
      if (server.listening) await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Takes no more from one side than the other can take. */
function pass(from: Socket, to: Socket, data: Buffer): void {
  if (to.write(data)) return;
  from.pause();
  to.once('drain', () => from.resume());
}

import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { startProxy, type TcpProxy } from './proxy.ts';

let echo: Server;
/** What the echo server has got, piece by piece. */
let pieces: Buffer[];
let proxy: TcpProxy;
const clients: Socket[] = [];

beforeEach(async () => {
  pieces = [];
  echo = createServer({ allowHalfOpen: true }, (socket) => {
    socket
      .on('error', () => {})
      .on('data', (data) => {
        pieces.push(data);
        socket.write(data);
      });
    socket.on('end', () => socket.end());
  });
  await new Promise<void>((resolve) => echo.listen(0, '127.0.0.1', resolve));
  proxy = await startProxy({ host: '127.0.0.1', port: (echo.address() as AddressInfo).port });
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  await proxy.stop();
  await new Promise((resolve) => echo.close(resolve));
});

interface Client {
  socket: Socket;
  received(): Buffer;
  /** `end` for a FIN, the code of the error, or `close`; in the order in which they came. */
  ends: string[];
}

async function open(allowHalfOpen = false): Promise<Client> {
  const socket = connect({ host: '127.0.0.1', port: proxy.port, noDelay: true, allowHalfOpen });
  clients.push(socket);
  const chunks: Buffer[] = [];
  const ends: string[] = [];
  socket
    .on('data', (data) => chunks.push(data))
    .on('end', () => ends.push('end'))
    .on('error', (error: NodeJS.ErrnoException) => ends.push(error.code ?? error.message))
    .on('close', () => ends.push('close'));
  await once(socket, 'connect');
  return { socket, received: () => Buffer.concat(chunks), ends };
}

const patient = { timeout: 8_000, interval: 5 };
const asked = { server: 100, client: 100 };

async function echoes(client: Client, content: Buffer): Promise<void> {
  const before = client.received().length;
  client.socket.write(content);
  await expect.poll(() => client.received().length, patient).toBe(before + content.length);
  expect(client.received().subarray(before).equals(content)).toBe(true);
}

test('bytes pass unchanged both ways, and are counted each way', async () => {
  await echoes(await open(), randomBytes(3 * 1024 * 1024));
  expect(proxy.carried()).toEqual({ server: 3 * 1024 * 1024, client: 3 * 1024 * 1024 });
});

test('a slow line takes its time, each way, and changes nothing', async () => {
  proxy.shape({ bytesPerSecond: 200_000 });
  const startedAt = performance.now();
  await echoes(await open(), randomBytes(50_000));
  expect(performance.now() - startedAt).toBeGreaterThan(240);
});

test('latency is added each way, and does not add up over what is on its way', async () => {
  proxy.shape({ latencyMs: 100 });
  const client = await open();
  const startedAt = performance.now();
  await echoes(client, randomBytes(1000));
  expect(performance.now() - startedAt).toBeGreaterThan(190);
  for (let round = 0; round < 50; round++) client.socket.write(randomBytes(1000));
  await expect.poll(() => client.received().length, patient).toBe(51_000);
  expect(performance.now() - startedAt).toBeLessThan(5_000);
});

test('slices arrive one by one and whole', async () => {
  proxy.shape({ sliceBytes: 7 });
  await echoes(await open(), randomBytes(20_000));
  expect(pieces.length).toBeGreaterThan(100);
});

test('a stall holds what was sent and closes nothing, and all of it passes afterwards', async () => {
  const client = await open();
  await echoes(client, Buffer.from('before'));
  proxy.stall();
  const late = randomBytes(5 * 1024 * 1024);
  client.socket.write(late);
  // Another connection proves that time has passed for the proxy too.
  const other = await startProxy({ host: '127.0.0.1', port: (echo.address() as AddressInfo).port });
  const passing = connect(other.port, '127.0.0.1', () => passing.end('x'));
  passing.resume();
  await once(passing, 'close');
  await other.stop();
  expect(client.received().toString()).toBe('before');
  expect(client.ends).toEqual([]);
  proxy.resume();
  await expect.poll(() => client.received().length, patient).toBe('before'.length + late.length);
  expect(client.received().subarray('before'.length).equals(late)).toBe(true);
});

test.each(['server', 'client'] as const)(
  'a cut lets so many more bytes towards the %s, for all connections',
  async (towards) => {
    const client = await open();
    await echoes(client, Buffer.alloc(100));
    proxy.cutAfter(5_000, towards);
    client.socket.write(randomBytes(20_000));
    await expect.poll(() => client.ends, patient).toContain('close');
    expect(proxy.carried()[towards]).toBe(asked[towards] + 5_000);
    const next = await open();
    next.socket.write('x');
    await expect.poll(() => next.ends, patient).toContain('close');
    proxy.heal();
    await echoes(await open(), randomBytes(1000));
  },
);

test('a half close towards the client ends its reading, and what it writes still arrives', async () => {
  const client = await open(true);
  await echoes(client, Buffer.from('both ways'));
  proxy.halfClose('client');
  await expect.poll(() => client.ends, patient).toEqual(['end']);
  client.socket.write('one way');
  await expect.poll(() => Buffer.concat(pieces).toString(), patient).toBe('both waysone way');
  expect(client.received().toString()).toBe('both ways');
});

test('a half close towards the server ends its reading, and it answers by closing', async () => {
  const client = await open();
  await echoes(client, Buffer.from('both ways'));
  proxy.halfClose('server');
  await expect.poll(() => client.ends, patient).toContain('end');
});

test('a reset ends every connection, and new ones pass', async () => {
  const [one, other] = [await open(), await open()];
  await echoes(one, Buffer.from('x'));
  await echoes(other, Buffer.from('x'));
  proxy.reset();
  for (const { ends } of [one, other]) await expect.poll(() => ends, patient).toEqual(['ECONNRESET', 'close']);
  expect(proxy.connections()).toBe(0);
  await echoes(await open(), Buffer.from('again'));
});

test('a server that is not there ends the connection', async () => {
  const gone = await startProxy({ host: '127.0.0.1', port: 1 });
  const socket = connect(gone.port, '127.0.0.1').on('error', () => {});
  socket.resume();
  await once(socket, 'close');
  await gone.stop();
});

import { spawn } from 'node:child_process';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { request } from 'undici';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Dialler, EgressPolicy } from './contract.ts';
import { createDialler } from './dialler.ts';
import { resolveAllowed } from './egress.ts';

const closed: EgressPolicy = { loopback: false, allow: [] };
const loopback: EgressPolicy = { loopback: true, allow: [] };

describe('the egress guard', () => {
  test.each([
    '127.0.0.1',
    '127.1',
    '127.0.0.53',
    '2130706433',
    '0x7f.1',
    '0x7f000001',
    '017700000001',
    '0177.0.0.1',
    '0',
    '0.0.0.0',
    '::1',
    '[::1]',
    '::',
    '::ffff:127.0.0.1',
    '::ffff:7f00:1',
    '::127.0.0.1',
    '0:0:0:0:0:0:0:1',
    'localhost',
  ])('refuses this machine written as %s', async (host) => {
    await expect(resolveAllowed(host, closed)).rejects.toMatchObject({ kind: 'egress-denied' });
  });

  test.each([
    '10.0.0.1',
    '172.16.0.1',
    '192.168.1.1',
    '169.254.169.254',
    '100.64.0.1',
    '224.0.0.1',
    '255.255.255.255',
    '240.0.0.1',
    '192.0.2.1',
    'fe80::1',
    'fc00::1',
    'fd12:3456::1',
    'ff02::1',
    '::ffff:10.0.0.1',
    '::10.0.0.1',
    '64:ff9b::a00:1',
    '2002:a00:1::',
    '10.1',
    '0xa.1',
    '167772161',
  ])('refuses %s, which is not a public address', async (host) => {
    await expect(resolveAllowed(host, loopback)).rejects.toMatchObject({ kind: 'egress-denied' });
  });

  test.each([
    ['93.184.216.34', 4],
    ['2606:4700::1111', 6],
    ['::ffff:93.184.216.34', 4],
  ] as const)('allows the public %s', async (host, family) => {
    expect(await resolveAllowed(host, closed)).toMatchObject([{ family }]);
  });

  test('opens the private ranges that the operator names, and only those', async () => {
    const policy = { loopback: false, allow: ['10.20.0.0/16', 'fd00::/8'] };
    expect(await resolveAllowed('10.20.3.4', policy)).toEqual([{ address: '10.20.3.4', family: 4 }]);
    expect(await resolveAllowed('::ffff:10.20.3.4', policy)).toEqual([{ address: '10.20.3.4', family: 4 }]);
    expect(await resolveAllowed('fd00::7', policy)).toEqual([{ address: 'fd00::7', family: 6 }]);
    await expect(resolveAllowed('10.21.0.1', policy)).rejects.toMatchObject({ kind: 'egress-denied' });
  });

  test('never opens loopback, cloud metadata or multicast by a range', async () => {
    const policy = { loopback: false, allow: ['0.0.0.0/0', '::/0'] };
    for (const host of ['127.0.0.1', '169.254.169.254', '224.0.0.1', '0.0.0.0', '::1', '::7f00:1', 'fe80::1']) {
      await expect(resolveAllowed(host, policy), host).rejects.toMatchObject({ kind: 'egress-denied' });
    }
    expect(await resolveAllowed('192.168.7.7', policy)).toHaveLength(1);
  });

  test('a name that does not resolve is unavailable', async () => {
    await expect(resolveAllowed('no-such-name.invalid', closed)).rejects.toMatchObject({ kind: 'unavailable' });
  });

  test('a range that is not a CIDR is refused when the dialler is made', () => {
    expect(() => createDialler({ loopback: false, allow: ['10.0.0.0'] })).toThrow(/CIDR/);
  });
});

describe('dialling TCP', () => {
  let server: Server;
  let port: number;
  let accepted: Socket[];
  const diallers: Dialler[] = [];
  beforeEach(async () => {
    accepted = [];
    server = createServer((socket) => accepted.push(socket));
    port = await listen(server);
  });
  afterEach(async () => {
    for (const socket of accepted) socket.destroy();
    await Promise.all(diallers.splice(0).map((dialler) => dialler.close()));
    server.close();
  });
  function dialler(policy: EgressPolicy): Dialler {
    const made = createDialler(policy);
    diallers.push(made);
    return made;
  }

  test.each(['127.0.0.1', '127.1', '0x7f.1', '::ffff:127.0.0.1', 'localhost'])(
    'reaches a listening socket as %s where loopback is open',
    async (host) => {
      const socket = await dialler(loopback).connect(host, port, { timeoutMs: 2000 });
      expect(socket.remotePort).toBe(port);
      socket.destroy();
    },
  );

  test.each(['127.0.0.1', '127.1', '2130706433', '0x7f.1', '::ffff:127.0.0.1', '0', 'localhost'])(
    'sends no packet to %s where it is not',
    async (host) => {
      await expect(dialler(closed).connect(host, port, { timeoutMs: 2000 })).rejects.toMatchObject({
        kind: 'egress-denied',
      });
      const allowed = await dialler(loopback).connect('127.0.0.1', port, { timeoutMs: 2000 });
      await waitUntil(() => accepted.length > 0);
      expect(accepted).toHaveLength(1);
      allowed.destroy();
    },
  );

  test('a port where nobody listens is unavailable', async () => {
    const unused = createServer();
    const unusedPort = await listen(unused);
    await new Promise((resolve) => unused.close(resolve));
    for (const host of ['127.0.0.1', 'localhost']) {
      await expect(dialler(loopback).connect(host, unusedPort, { timeoutMs: 2000 })).rejects.toMatchObject({
        kind: 'unavailable',
      });
    }
  });

  test('an aborted call ends in cancelled, before and while it connects', async () => {
    await expect(
      dialler(loopback).connect('127.0.0.1', port, { timeoutMs: 2000, signal: AbortSignal.abort() }),
    ).rejects.toMatchObject({ kind: 'cancelled' });
    const controller = new AbortController();
    const call = dialler(loopback).connect('127.0.0.1', port, { timeoutMs: 2000, signal: controller.signal });
    controller.abort();
    await expect(call).rejects.toMatchObject({ kind: 'cancelled' });
  });

  test('a server whose queue is full, and never answers, is timeout', async () => {
    // Linux drops what comes after a full accept queue: the kernel's own way of not answering.
    const program = `const server = require('net').createServer();
      server.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
        process.stdout.write(String(server.address().port));
        process.kill(process.pid, 'SIGSTOP');
      });`;
    const full = spawn(process.execPath, ['-e', program]);
    const fullPort = Number(await new Promise<Buffer>((resolve) => full.stdout.once('data', resolve)));
    const open: Socket[] = [];
    try {
      let error: unknown;
      while (open.length < 50 && error === undefined) {
        await dialler(loopback)
          .connect('127.0.0.1', fullPort, { timeoutMs: 300 })
          .then(
            (socket) => open.push(socket),
            (thrown) => {
              error = thrown;
            },
          );
      }
      expect(error).toMatchObject({ kind: 'timeout' });
    } finally {
      for (const socket of open) socket.destroy();
      full.kill('SIGKILL');
    }
  });
});

describe('dialling HTTP', () => {
  let server: ReturnType<typeof createHttpServer>;
  let port: number;
  let seen: string[];
  const diallers: Dialler[] = [];
  beforeEach(async () => {
    seen = [];
    server = createHttpServer((incoming, response) => {
      seen.push(incoming.url!);
      if (incoming.url === '/redirect') response.writeHead(302, { location: `http://127.0.0.1:${port}/target` });
      response.end(`host ${incoming.headers.host}`);
    });
    port = await listen(server);
  });
  afterEach(async () => {
    await Promise.all(diallers.splice(0).map((dialler) => dialler.close()));
    server.close();
  });
  function http(policy: EgressPolicy) {
    const made = createDialler(policy);
    diallers.push(made);
    return made.http;
  }

  test.each(['127.0.0.1', '127.1', '2130706433', '0x7f.1', '[::ffff:127.0.0.1]', '[::1]', '0', 'localhost'])(
    'sends no request to %s where loopback is not open',
    async (host) => {
      await expect(request(`http://${host}:${port}/secret`, { dispatcher: http(closed) })).rejects.toMatchObject({
        kind: 'egress-denied',
      });
      await expect(request(`https://${host}:${port}/secret`, { dispatcher: http(closed) })).rejects.toMatchObject({
        kind: 'egress-denied',
      });
      expect(seen).toEqual([]);
    },
  );

  test('keeps the name in the Host header when it dials the checked address', async () => {
    const answer = await request(`http://localhost:${port}/`, { dispatcher: http(loopback) });
    expect(await answer.body.text()).toBe(`host localhost:${port}`);
  });

  test('does not follow a redirect', async () => {
    const answer = await request(`http://127.0.0.1:${port}/redirect`, { dispatcher: http(loopback) });
    expect(answer.statusCode).toBe(302);
    await answer.body.dump();
    expect(seen).toEqual(['/redirect']);
  });
});

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

async function waitUntil(isSo: () => boolean): Promise<void> {
  const deadlineAt = performance.now() + 5000;
  while (!isSo()) {
    if (performance.now() > deadlineAt) throw new Error('it never came about');
    await new Promise((resolve) => setImmediate(resolve));
  }
}

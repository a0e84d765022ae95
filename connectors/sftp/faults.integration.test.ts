import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import ssh2, { type AuthContext } from 'ssh2';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { serveSftp } from '../../cli/demo/sftpServer.ts';
import { createDialler } from '../../network/dialler.ts';
import { startProxy, type TcpProxy } from '../../test/servers/proxy.ts';
import { type Sshd, startSshd } from '../../test/servers/sshd.ts';
import type { Connector, Sink } from '../contract.ts';
import { openSftp } from './connector.ts';
import { scanHostKey } from './hostKeys.ts';
import sftp from './index.ts';
import { sftpPatience } from './settings.ts';

const dialler = createDialler({ loopback: true, allow: [] });
const logged: string[] = [];
const note = (facts: Record<string, unknown>, message: string) => logged.push(JSON.stringify(facts) + message);
const log = { debug: note, info: note, warn: note, error: note };
const never = new AbortController().signal;
const otherKey = `SHA256:${'A'.repeat(43)}`;
const shortPatience = {
  ...sftpPatience,
  connectTimeoutMs: 500,
  signInTimeoutMs: 1500,
  answerTimeoutMs: 400,
  closeTimeoutMs: 200,
};

let folder: string;
let server: Sshd;
const openConnectors: Connector[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'waybill-faults-'));
  server = await startSshd({ root: folder });
});
afterEach(async () => {
  await Promise.all(openConnectors.splice(0).map((connector) => connector.close()));
});
afterAll(async () => {
  await dialler.close();
  await server.stop();
  await rm(folder, { recursive: true, force: true });
});

type Changes = Partial<{
  host: string;
  port: number;
  username: string;
  root: string;
  hostKeys: string[];
  connections: number;
}>;

function open(changes: Changes = {}, secrets: Record<string, string> = { privateKey: server.privateKey }): Connector {
  const { host, port, username, hostKeys } = server;
  const settings = { host, port, username, root: folder, hostKeys, connections: 1, ...changes };
  const connector = openSftp(settings, secrets, { dialler, localRoots: [], log }, shortPatience);
  openConnectors.push(connector);
  return connector;
}

async function begin(connector: Connector, path: string, size: number): Promise<Sink> {
  return connector.begin(path, { size, deliveryId: 'dlv', replace: true, modified: null }, never);
}

describe('signing in to an SFTP server', () => {
  test('a key text that is none, or is locked, is unauthenticated and is not repeated in the message', async () => {
    const locked = ssh2.utils.generateKeyPairSync('ed25519', {
      passphrase: 'open sesame',
      cipher: 'aes256-ctr',
      rounds: 4,
    }).private;
    for (const secrets of [
      { privateKey: 'canary-not-a-key' },
      { privateKey: locked },
      { privateKey: locked, passphrase: 'canary-wrong' },
    ]) {
      const error = await open({}, secrets)
        .check(never)
        .catch((thrown) => thrown);
      expect(error).toMatchObject({ kind: 'unauthenticated' });
      expect(`${error.message}${JSON.stringify(error.context)}`).not.toMatch(/canary|BEGIN/);
    }
  });

  test('a host key that is not the expected one is refused, naming both, before any credential is sent', async () => {
    const error = await open({ hostKeys: [otherKey] })
      .check(never)
      .catch((thrown) => thrown);
    expect(error).toMatchObject({ kind: 'unauthenticated', permanent: true });
    expect(error.message).toContain(`got ${server.hostKeyFingerprint}`);
    expect(error.message).toContain(`expected ${otherKey}`);
  });

  test('no host key at all trusts nobody', async () => {
    await expect(open({ hostKeys: [] }).check(never)).rejects.toMatchObject({ kind: 'unauthenticated' });
  });

  test('one of several trusted keys is enough, and check tells which', async () => {
    const health = await open({ hostKeys: [otherKey, `${server.hostKeyFingerprint}=`] }).check(never);
    expect(health.identity).toBe(server.hostKeyFingerprint);
    expect(health.server).toMatch(/^SSH-2\.0-OpenSSH_/);
  });

  test('a root that is absent is not-found', async () => {
    await expect(open({ root: `${folder}/absent` }).check(never)).rejects.toMatchObject({ kind: 'not-found' });
  });

  test('an address that the guard does not allow is egress-denied', async () => {
    const guarded = createDialler({ loopback: false, allow: [] });
    const settings = {
      host: server.host,
      port: server.port,
      username: 'x',
      root: '/',
      hostKeys: [otherKey],
      connections: 1,
    };
    const connector = openSftp(settings, {}, { dialler: guarded, localRoots: [], log });
    await expect(connector.check(never)).rejects.toMatchObject({ kind: 'egress-denied' });
  });
});

describe('a server that is not what it should be', () => {
  const listeners: Server[] = [];
  afterEach(() => {
    for (const listener of listeners.splice(0)) listener.close();
  });
  async function listen(onConnection: (socket: import('node:net').Socket) => void): Promise<number> {
    const listener = createServer(onConnection);
    listeners.push(listener);
    await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
    return (listener.address() as AddressInfo).port;
  }

  test('a port where nobody listens is unavailable', async () => {
    const port = await listen(() => {});
    await new Promise((resolve) => listeners.pop()!.close(resolve));
    await expect(open({ port }).check(never)).rejects.toMatchObject({ kind: 'unavailable' });
  });

  test('one that never says a word is timeout', async () => {
    const port = await listen((socket) => openSockets.push(socket));
    await expect(open({ port }).check(never)).rejects.toMatchObject({ kind: 'timeout' });
    for (const socket of openSockets) socket.destroy();
  });
  const openSockets: import('node:net').Socket[] = [];

  test('one that hangs up is unavailable, and one that speaks something else is protocol', async () => {
    const hangsUp = await listen((socket) => socket.end());
    await expect(open({ port: hangsUp }).check(never)).rejects.toMatchObject({ kind: 'unavailable' });
    const speaksHttp = await listen((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
    const error = await open({ port: speaksHttp })
      .check(never)
      .catch((thrown) => thrown);
    expect(['protocol', 'unavailable']).toContain(error.kind);
  });
});

describe('a connection that breaks', () => {
  let proxy: TcpProxy;
  afterEach(() => proxy.stop());

  test('that falls silent ends every call in timeout at its deadline', async () => {
    proxy = await startProxy(server);
    const connector = open({ port: proxy.port });
    await connector.check(never);
    proxy.stall();
    const startedAt = performance.now();
    const calls = [connector.stat('/', never), connector.remove('/x', never), begin(connector, '/y', 1)];
    for (const result of await Promise.allSettled(calls))
      expect(result).toMatchObject({ status: 'rejected', reason: { kind: 'timeout' } });
    expect(performance.now() - startedAt).toBeLessThan(shortPatience.answerTimeoutMs + 1500);
    proxy.resume();
    await connector.check(never);
  });

  test('or stalls can be cancelled within a second, while signing in too', async () => {
    proxy = await startProxy(server);
    const connector = open({ port: proxy.port });
    await connector.check(never);
    proxy.stall();
    for (const stuck of [connector, open({ port: proxy.port })]) {
      const controller = new AbortController();
      const call = stuck.stat('/', controller.signal);
      setImmediate(() => controller.abort());
      const startedAt = performance.now();
      await expect(call).rejects.toMatchObject({ kind: 'cancelled' });
      expect(performance.now() - startedAt).toBeLessThan(1000);
    }
  });

  test('when the connector is closed, pending calls end in unavailable and no socket stays', async () => {
    proxy = await startProxy(server);
    const connector = open({ port: proxy.port });
    await connector.check(never);
    proxy.stall();
    const call = connector.stat('/', never);
    const settled = expect(call).rejects.toMatchObject({ kind: 'unavailable' });
    await connector.close();
    await settled;
    await expect(connector.stat('/', never)).rejects.toMatchObject({ kind: 'unavailable' });
    proxy.resume();
    await waitUntil(() => proxy.connections() === 0);
  });
});

describe('a server with limits and choices of its own', () => {
  const keys = {
    ed25519: ssh2.utils.generateKeyPairSync('ed25519'),
    rsa: ssh2.utils.generateKeyPairSync('rsa', { bits: 2048 }),
  };
  let ssh: InstanceType<typeof ssh2.Server>;
  let listener: Server;
  let authenticate: (attempt: AuthContext) => void;
  let connectionsLeft: number;
  beforeAll(async () => {
    ssh = new ssh2.Server({ hostKeys: [keys.ed25519.private, keys.rsa.private] }, (connection) => {
      connection.on('error', () => {});
      connection.on('authentication', (attempt) => authenticate(attempt));
      connection.on('session', (accept) => accept().on('sftp', (acceptSftp) => serveSftp(acceptSftp(), folder)));
    });
    listener = createServer({ noDelay: true }, (socket) => {
      if (connectionsLeft-- > 0) ssh.injectSocket(socket);
      else socket.destroy();
    });
    await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  });
  afterAll(() => new Promise((resolve) => listener.close(resolve)));

  async function serve(changes: Changes, secrets: Record<string, string>, limit = 100): Promise<Connector> {
    connectionsLeft = limit;
    const { port } = listener.address() as AddressInfo;
    const hostKeys = (await scanHostKey(dialler, '127.0.0.1', port)).map(({ fingerprint }) => fingerprint);
    connectionsLeft = limit;
    return open({ port, root: '/', username: 'acme', hostKeys, ...changes }, secrets);
  }

  test('scanning shows one key of each kind, and trusting only the weaker one is enough', async () => {
    connectionsLeft = 100;
    authenticate = (attempt) => attempt.accept();
    const { port } = listener.address() as AddressInfo;
    const shown = await scanHostKey(dialler, '127.0.0.1', port);
    expect(shown.map(({ algorithm }) => algorithm)).toEqual(['ssh-ed25519', 'ssh-rsa']);
    const connector = await serve({ hostKeys: [shown[1]!.fingerprint] }, { password: 'x' });
    expect((await connector.check(never)).identity).toBe(shown[1]!.fingerprint);
  });

  test('a password signs in, by keyboard-interactive too', async () => {
    authenticate = (attempt) => {
      if (attempt.method === 'password' && attempt.password === 'pa ss') attempt.accept();
      else attempt.reject(['password']);
    };
    await expect((await serve({}, { password: 'pa ss' })).check(never)).resolves.toBeDefined();
    await expect((await serve({}, { password: 'canary' })).check(never)).rejects.toMatchObject({
      kind: 'unauthenticated',
    });
    authenticate = (attempt) => {
      if (attempt.method !== 'keyboard-interactive') return attempt.reject(['keyboard-interactive']);
      attempt.prompt([{ prompt: 'Password: ', echo: false }], ([answer]) =>
        answer === 'pa ss' ? attempt.accept() : attempt.reject(),
      );
    };
    await expect((await serve({}, { password: 'pa ss' })).check(never)).resolves.toBeDefined();
    expect(logged.join('\n')).not.toContain('canary');
  });

  test('one that takes only one connection gets all files over it', async () => {
    authenticate = (attempt) => attempt.accept();
    await writeFile(join(folder, 'shared.txt'), 'shared');
    const connector = await serve({ connections: 4 }, { password: 'x' }, 1);
    await connector.check(never);
    const sources = await Promise.all(Array.from({ length: 40 }, () => connector.open('/shared.txt', {}, never)));
    expect(sources).toHaveLength(40);
    await Promise.all(sources.map((source) => source.close()));
  });
});

describe('the configuration of an SFTP endpoint', () => {
  const config = { host: 'sftp.example', username: 'acme' };
  test('needs a host key, and says how to get it', () => {
    const mistakes = sftp.lint!(config, ['privateKey']);
    expect(mistakes).toMatchObject([{ field: 'hostKeys' }]);
    expect(mistakes[0]!.message).toContain('waybill endpoints add sftp://acme@sftp.example');
  });
  test('needs a way to sign in', () => {
    const trusted = { ...config, hostKeys: [otherKey] };
    expect(sftp.lint!(trusted, [])).toMatchObject([{ field: 'secrets' }]);
    expect(sftp.lint!(trusted, ['password'])).toEqual([]);
    expect(sftp.lint!(trusted, ['password', 'passphrase'])).toMatchObject([{ field: 'secrets' }]);
  });
});

async function waitUntil(isSo: () => boolean): Promise<void> {
  const deadlineAt = performance.now() + 5000;
  while (!isSo()) {
    if (performance.now() > deadlineAt) throw new Error('it never came about');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

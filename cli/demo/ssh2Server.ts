import { createHash, timingSafeEqual } from 'node:crypto';
import { realpath } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import ssh2, { type AuthContext, type Connection, type ParsedKey } from 'ssh2';
import type { Partner } from './partner.ts';
import { type FilesListener, serveSftp } from './sftpServer.ts';

const username = 'partner';

/** A small SFTP server in this process, for machines without OpenSSH. It serves `folder` as `/`, and nothing outside. */
export async function startSsh2Server(folder: string, onFiles?: FilesListener): Promise<Partner> {
  const root = await realpath(folder);
  const hostKey = ssh2.utils.generateKeyPairSync('ed25519', { comment: 'waybill host key' });
  const userKey = ssh2.utils.generateKeyPairSync('ed25519', { comment: 'waybill user key' });
  const allowed = parse(userKey.public);
  const connections = new Set<Connection>();
  const ssh = new ssh2.Server({ hostKeys: [hostKey.private] }, (connection) => {
    connections.add(connection);
    connection.on('close', () => connections.delete(connection));
    // A client that goes away without a word is no error of the server.
    connection.on('error', () => {});
    connection.on('authentication', (attempt) => authenticate(attempt, allowed));
    connection.on('session', (accept) => accept().on('sftp', (acceptSftp) => serveSftp(acceptSftp(), root, onFiles)));
  });
  // A listener of our own, since with Nagle's algorithm on, which ssh2 leaves on, every small answer waits 40 ms.
  const listener = createServer({ noDelay: true }, (socket) => ssh.injectSocket(socket));
  await new Promise<void>((resolve, reject) => {
    listener.once('error', reject);
    listener.listen(0, '127.0.0.1', resolve);
  });
  return {
    implementation: 'ssh2',
    host: '127.0.0.1',
    port: (listener.address() as AddressInfo).port,
    username,
    root: '/',
    privateKey: userKey.private,
    hostKeyFingerprint: fingerprintOf(parse(hostKey.public)),
    pid: null,
    stop: () =>
      new Promise((resolve) => {
        for (const connection of connections) connection.end();
        listener.close(() => resolve());
      }),
  };
}

/** First the client asks whether a key would do, without a signature; then it proves that it holds it. */
function authenticate(attempt: AuthContext, allowed: ParsedKey): void {
  if (attempt.method !== 'publickey' || attempt.username !== username) {
    attempt.reject(['publickey']);
    return;
  }
  const isAllowed = attempt.key.algo === allowed.type && isSame(attempt.key.data, allowed.getPublicSSH());
  const isProven =
    !attempt.signature ||
    (attempt.blob !== undefined && allowed.verify(attempt.blob, attempt.signature, attempt.hashAlgo) === true);
  if (isAllowed && isProven) attempt.accept();
  else attempt.reject(['publickey']);
}

function isSame(one: Buffer, other: Buffer): boolean {
  return one.length === other.length && timingSafeEqual(one, other);
}

function parse(text: string): ParsedKey {
  const key = ssh2.utils.parseKey(text);
  if (key instanceof Error) throw key;
  return key;
}

function fingerprintOf(key: ParsedKey): string {
  return `SHA256:${createHash('sha256').update(key.getPublicSSH()).digest('base64').replace(/=+$/, '')}`;
}

import type { Socket } from 'node:net';
import ssh2, { type AuthenticationType, Client, type ConnectConfig, type SFTPWrapper } from 'ssh2';
import { orCancelled, throwIfCancelled } from '../../network/cancellation.ts';
import type { Dialler } from '../../network/contract.ts';
import { WaybillError } from '../../schema/errors.ts';
import { connectionError } from './failures.ts';
import { type HostKey, hostKeyFamilies, unexpectedHostKey, verifierOf } from './hostKeys.ts';
import { openPieceWriter, type PieceWriter } from './pieces.ts';
import { blockBytes, type SftpPatience, type SftpSettings, smallestBlockBytes } from './settings.ts';

/** A signed-in SSH connection with its SFTP channel open. */
export interface Session {
  client: Client;
  sftp: SFTPWrapper;
  socket: Socket;
  hostKey: HostKey;
  /** `SSH-2.0-OpenSSH_9.2p1` */
  server: string;
  extensions: ReadonlySet<string>;
  readBytes: number;
  writeBytes: number;
  /** Null when this ssh2 does not let bytes be sent from the caller's memory. */
  pieces: PieceWriter | null;
}

/**
 * Connects, checks the host key and signs in. A server that has keys of several kinds shows its strongest; when that is
 * not a trusted one, it is asked for its other kinds, since partners often publish only one of their keys.
 */
export async function openSession(
  settings: SftpSettings,
  secrets: Record<string, string>,
  dialler: Dialler,
  patience: SftpPatience,
  signal: AbortSignal,
): Promise<Session> {
  const credentials = readCredentials(settings, secrets);
  const shown: HostKey[] = [];
  for (let families = hostKeyFamilies; families.length > 0; ) {
    const algorithms = { serverHostKey: families.flat() };
    const attempt = await tryOpen(settings, { ...credentials, algorithms }, dialler, patience, signal);
    if ('session' in attempt) return attempt.session;
    if (!attempt.refused) {
      if (shown.length === 0) throw attempt.error;
      break;
    }
    shown.push(attempt.refused);
    families = families.filter((family) => !isOfFamily(attempt.refused!.algorithm, family));
  }
  throw unexpectedHostKey(settings, shown);
}

/** An RSA key calls itself `ssh-rsa` whatever signs with it. */
function isOfFamily(algorithm: string, family: readonly string[]): boolean {
  return family.includes(algorithm);
}

type Attempt = { session: Session } | { refused: HostKey | undefined; error: WaybillError };

async function tryOpen(
  settings: SftpSettings,
  credentials: ConnectConfig,
  dialler: Dialler,
  patience: SftpPatience,
  signal: AbortSignal,
): Promise<Attempt> {
  const socket = await dialler.connect(settings.host, settings.port, { timeoutMs: patience.connectTimeoutMs, signal });
  // Nagle's algorithm holds back the small packets of the protocol: with it SFTP runs at a tenth of its speed.
  socket.setNoDelay(true);
  const client = new Client();
  let hostKey: HostKey | undefined;
  let isTrusted = false;
  const verify = verifierOf(settings, (key) => {
    hostKey = key;
  }) as (key: Buffer) => boolean;
  const config: ConnectConfig = {
    ...credentials,
    sock: socket,
    username: settings.username,
    readyTimeout: patience.signInTimeoutMs,
    keepaliveInterval: patience.keepaliveMs,
    hostVerifier: (key: Buffer) => {
      isTrusted = verify(key);
      return isTrusted;
    },
  };
  try {
    await orCancelled(signIn(client, config, credentials.password), signal);
    const sftp = await orCancelled(openChannel(client, patience.signInTimeoutMs), signal);
    return {
      session: {
        client,
        sftp,
        socket,
        hostKey: hostKey!,
        pieces: openPieceWriter(sftp, socket),
        ...readOffer(client, sftp),
      },
    };
  } catch (error) {
    socket.destroy();
    throwIfCancelled(signal);
    const refused = isTrusted ? undefined : hostKey;
    return { refused, error: connectionError(error as Error, settings) };
  }
}

function signIn(client: Client, config: ConnectConfig, password: string | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    client.on('ready', resolve);
    // Stays for the life of the connection: an error event without a listener would end the process.
    client.on('error', reject);
    client.on('close', () => reject(new Error('connection lost before sign-in')));
    client.on('keyboard-interactive', (_name, _instructions, _language, prompts, finish) => {
      // One question that is not to be echoed is the password; anything else is not for a machine to answer.
      finish(prompts.length === 1 && !prompts[0]!.echo && password !== undefined ? [password] : []);
    });
    client.connect(config);
  });
}

function openChannel(client: Client, timeoutMs: number): Promise<SFTPWrapper> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(Object.assign(new Error('no SFTP channel'), { level: 'client-timeout' })),
      timeoutMs,
    );
    client.on('close', () => reject(new Error('connection lost before the SFTP channel stood')));
    client.sftp((error, sftp) => {
      clearTimeout(timer);
      if (error) reject(error);
      else resolve(sftp);
    });
  });
}

function readCredentials(settings: SftpSettings, secrets: Record<string, string>): ConnectConfig {
  const { privateKey, passphrase, password } = secrets;
  const order: AuthenticationType[] = [];
  if (privateKey !== undefined) {
    const key = ssh2.utils.parseKey(privateKey, passphrase);
    if (key instanceof Error) throw unreadableKey(settings, key, passphrase !== undefined);
    order.push('publickey');
  }
  if (password !== undefined) order.push('password', 'keyboard-interactive');
  return {
    authHandler: order,
    tryKeyboard: password !== undefined,
    ...(privateKey === undefined ? {} : { privateKey }),
    ...(passphrase === undefined ? {} : { passphrase }),
    ...(password === undefined ? {} : { password }),
  };
}

/** The parser's own message is not passed on: it may quote the text it could not read. */
function unreadableKey(settings: SftpSettings, error: Error, hasPassphrase: boolean): WaybillError {
  const isLocked = /encrypted|passphrase|bad decrypt|integrity/i.test(error.message);
  const why = !isLocked
    ? 'is not a private key'
    : hasPassphrase
      ? 'cannot be opened with that passphrase'
      : 'needs a passphrase';
  return new WaybillError('unauthenticated', `the secret privateKey for ${settings.username}@${settings.host} ${why}`, {
    operation: 'connecting',
    field: 'privateKey',
  });
}

/** What ssh2 1.17.0 knows of the server and shows nowhere: its version, its extensions, and what limits@openssh.com said. */
function readOffer(
  client: Client,
  sftp: SFTPWrapper,
): Pick<Session, 'server' | 'extensions' | 'readBytes' | 'writeBytes'> {
  const { _remoteVer: version } = client as unknown as { _remoteVer?: string };
  const inside = sftp as unknown as {
    _extensions?: Record<string, string>;
    _maxReadLen?: number;
    _maxWriteLen?: number;
  };
  return {
    server: `SSH-2.0-${version ?? 'unknown'}`,
    extensions: new Set(Object.keys(inside._extensions ?? {})),
    readBytes: Math.min(inside._maxReadLen ?? smallestBlockBytes, blockBytes),
    writeBytes: Math.min(inside._maxWriteLen ?? smallestBlockBytes, blockBytes),
  };
}

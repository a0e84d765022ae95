import { createHash } from 'node:crypto';
import { Client, type ConnectConfig, type ServerHostKeyAlgorithm } from 'ssh2';
import type { Dialler } from '../../network/contract.ts';
import { WaybillError } from '../../schema/errors.ts';
import type { SftpSettings } from './settings.ts';

/** A host key as a server shows it: `ssh-ed25519`, and the fingerprint as `ssh-keygen -l` prints it. */
export interface HostKey {
  algorithm: string;
  fingerprint: string;
}

/** Kinds of host key, strongest first: a server shows one of the first kind that both sides know. */
export const hostKeyFamilies: readonly ServerHostKeyAlgorithm[][] = [
  ['ssh-ed25519'],
  ['ecdsa-sha2-nistp256', 'ecdsa-sha2-nistp384', 'ecdsa-sha2-nistp521'],
  ['rsa-sha2-512', 'rsa-sha2-256', 'ssh-rsa'],
];

const scanTimeoutMs = 15_000;

/**
 * Every host key that the server shows, one for each kind, without signing in: what an operator compares with what the
 * partner told them. Throws egress-denied, unavailable, timeout, or protocol when nothing there speaks SSH.
 */
export async function scanHostKey(dialler: Dialler, host: string, port: number): Promise<HostKey[]> {
  const found: HostKey[] = [];
  let failure: unknown;
  for (const family of hostKeyFamilies) {
    try {
      found.push(await scanOne(dialler, host, port, family));
    } catch (error) {
      if (!(error instanceof WaybillError) || error.kind !== 'protocol') throw error;
      failure = error;
    }
  }
  if (found.length === 0) throw failure;
  return found;
}

async function scanOne(
  dialler: Dialler,
  host: string,
  port: number,
  family: ServerHostKeyAlgorithm[],
): Promise<HostKey> {
  const sock = await dialler.connect(host, port, { timeoutMs: scanTimeoutMs });
  const client = new Client();
  try {
    return await new Promise<HostKey>((resolve, reject) => {
      const refuse = (error: Error & { level?: string }) => {
        const kind = error.level === 'client-timeout' ? 'timeout' : 'protocol';
        reject(
          new WaybillError(kind, `${host}:${port} shows no host key (${error.message})`, { host, port, cause: error }),
        );
      };
      client.on('error', refuse);
      client.on('close', () => refuse(new Error('connection closed')));
      client.connect({
        sock,
        username: 'waybill',
        readyTimeout: scanTimeoutMs,
        algorithms: { serverHostKey: family },
        // Seen is enough: refusing it ends the connection before any credential could be asked for.
        hostVerifier: (key: Buffer) => {
          resolve(readHostKey(key));
          return false;
        },
      });
    });
  } finally {
    sock.destroy();
  }
}

export function readHostKey(key: Buffer): HostKey {
  const nameBytes = key.readUInt32BE(0);
  return {
    algorithm: key.toString('latin1', 4, 4 + nameBytes),
    fingerprint: `SHA256:${createHash('sha256').update(key).digest('base64').replace(/=+$/, '')}`,
  };
}

/** The verifier of a connection: tells what was shown, and refuses everything but the expected keys. */
export function verifierOf(
  settings: SftpSettings,
  onShown: (key: HostKey) => void,
): NonNullable<ConnectConfig['hostVerifier']> {
  const expected = new Set(settings.hostKeys.map((fingerprint) => fingerprint.replace(/=+$/, '')));
  return (key: Buffer) => {
    const shown = readHostKey(key);
    onShown(shown);
    return expected.has(shown.fingerprint);
  };
}

export function unexpectedHostKey(settings: SftpSettings, shown: readonly HostKey[]): WaybillError {
  const got = shown.map(({ algorithm, fingerprint }) => `${fingerprint} (${algorithm})`).join(', ');
  return new WaybillError(
    'unauthenticated',
    `the host key of ${settings.host}:${settings.port} is not the expected one: got ${got}, expected ${settings.hostKeys.join(' or ') || 'none'}; ` +
      'nothing was sent. Ask the owner of the server before you change hostKeys',
    { operation: 'connecting', host: settings.host, port: settings.port },
  );
}

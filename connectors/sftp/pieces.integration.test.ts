import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SFTPWrapper } from 'ssh2';
import { afterEach, describe, expect, it } from 'vitest';
import { createDialler } from '../../network/dialler.ts';
import { startSshd } from '../../test/servers/sshd.ts';
import { openSession, type Session } from './handshake.ts';
import { openPieceWriter } from './pieces.ts';
import { blockBytes, sftpPatience } from './settings.ts';

const never = new AbortController().signal;
const closes: Array<() => unknown> = [];

afterEach(async () => {
  for (const close of closes.splice(0).reverse()) await close();
});

/** What ssh2 has of the encrypting half. */
interface Protocol {
  rekey(): void;
  _cipher: { encrypt(packet: Buffer): void };
}

describe('pieces', () => {
  it('arrive whole over packets that are used again, through changes of keys', async () => {
    const { session, folder } = await connect();
    const content = randomBytes(40 * blockBytes + 12_345);
    const handle = await openForWriting(session.sftp, join(folder, 'out.bin'));
    const ciphers = new Set<unknown>();
    for (let round = 0; round < 4; round++) {
      // More than the server's window has room for, while the keys change.
      const writes = [];
      // As the connection does: what one turn sends waits for its end.
      session.socket.cork();
      for (let at = round * 10 * blockBytes; at < content.length && writes.length < 11; at += blockBytes)
        writes.push(write(session, handle, content.subarray(at, at + blockBytes), at));
      session.socket.uncork();
      protocolOf(session).rekey();
      await Promise.all(writes);
      ciphers.add(protocolOf(session)._cipher);
    }
    expect(content.equals(await readFile(join(folder, 'out.bin')))).toBe(true);
    expect(ciphers.size).toBeGreaterThan(1);
  }, 30_000);

  it('take memory that does not grow with what is sent', async () => {
    const { session, folder } = await connect();
    const handle = await openForWriting(session.sftp, join(folder, 'out.bin'));
    const content = randomBytes(blockBytes);
    await write(session, handle, content, 0);
    const memories = new Set<ArrayBufferLike>();
    let packets = 0;
    const { _cipher: cipher } = protocolOf(session);
    const encrypt = cipher.encrypt.bind(cipher);
    cipher.encrypt = (packet) => {
      if (packet.length > 16_384) {
        packets++;
        memories.add(packet.buffer);
      }
      encrypt(packet);
    };
    for (let round = 0; round < 100; round++) await write(session, handle, content, 0);
    expect(packets).toBeGreaterThan(700);
    expect(memories.size).toBeLessThan(100);
  }, 30_000);

  it('that wait for the window are sent as they were when they were given up', () => {
    const sent: Buffer[] = [];
    // As ssh2 keeps a channel, with room for 100 bytes at the server.
    const channel = {
      _requests: {},
      _writeReqid: 0,
      _buffer: [],
      _waitWindow: false,
      _chunkcb: undefined as (() => void) | undefined,
      _protocol: {
        _cipher: { allocPacket: (bytes: number) => Buffer.alloc(bytes) },
        channelData: (_: number, data: Buffer) => void sent.push(Buffer.from(data)),
      },
      outgoing: { id: 0, window: 100, packetSize: 32_768, state: 'open' },
    };
    const pieces = openPieceWriter(channel as unknown as SFTPWrapper, undefined as never)!;
    const block = Buffer.alloc(70_000, 1);
    pieces.write(Buffer.from('h'), block, 0, () => {});
    pieces.letGo(block);
    block.fill(2);
    expect(Buffer.concat(sent)).toHaveLength(100);
    channel.outgoing.window = 1_000_000;
    channel._waitWindow = false;
    channel._chunkcb!();
    const all = Buffer.concat(sent);
    expect(all.readUInt32BE(0)).toBe(all.length - 4);
    expect(all.subarray(-block.length).every((byte) => byte === 1)).toBe(true);
  });
});

async function connect(): Promise<{ session: Session; folder: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'waybill-pieces-'));
  closes.push(() => rm(folder, { recursive: true, force: true }));
  const server = await startSshd({ root: folder });
  closes.push(() => server.stop());
  const dialler = createDialler({ loopback: true, allow: [] });
  closes.push(() => dialler.close());
  const { host, port, username, privateKey, hostKeys } = server;
  const settings = { host, port, username, root: folder, hostKeys, connections: 1 };
  const session = await openSession(settings, { privateKey }, dialler, sftpPatience, never);
  closes.push(() => session.client.end());
  return { session, folder };
}

function openForWriting(sftp: SFTPWrapper, path: string): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    sftp.open(path, 'w', (error, handle) => (error ? reject(error) : resolve(handle)));
  });
}

/** Fails when the installed ssh2 is no longer made as it is taken to be. */
function write(session: Session, handle: Buffer, bytes: Buffer, at: number): Promise<void> {
  return new Promise((resolve, reject) => {
    session.pieces!.write(handle, bytes, at, (error) => (error ? reject(error) : resolve()));
  });
}

function protocolOf({ client }: Session): Protocol {
  return (client as unknown as { _protocol: Protocol })._protocol;
}

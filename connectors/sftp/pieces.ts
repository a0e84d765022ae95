import type { Socket } from 'node:net';
import type { SFTPWrapper } from 'ssh2';
import { type Cipher, Packets } from './packets.ts';

/** Type of the request in SFTP 3 (draft-ietf-secsh-filexfer-02, section 3). */
const writeType = 6;
/** Length, type, id, length of the handle, offset and length of the bytes. */
const headerBytes = 25;
/** Type, channel and length, before the bytes of a packet (RFC 4254, section 5.2). */
const dataHeaderBytes = 9;
/** What every server takes (RFC 4253, section 6.1). More in a packet would only take more memory. */
const largestPieceBytes = 32 * 1024;

/**
 * What ssh2 1.17.0 keeps of a channel and shows nowhere. Its own `write` makes one request of header and bytes in memory of
 * its own, before it copies that into packets: 255 KiB for each block that only the garbage collector takes back, and V8
 * collects all of a worker's memory each time that some 20 MiB of them have come together.
 */
interface Channel {
  _requests: Record<number, { cb(error?: Error): void }>;
  _writeReqid: number;
  /** Requests that wait for the server to open its window, in their order. */
  _buffer: Buffer[];
  _waitWindow: boolean;
  _chunkcb: (() => void) | undefined;
  _protocol: { channelData(channel: number, data: Buffer): void; _cipher: Cipher };
  outgoing: { id: number; window: number; packetSize: number; state: string };
}

/** Null when this ssh2 is not made as it is taken to be here: `sftp.write` has to do then. */
export function openPieceWriter(sftp: SFTPWrapper, socket: Socket): PieceWriter | null {
  return takesPieces(sftp) ? new PieceWriter(sftp, socket) : null;
}

/** Whether this ssh2 is made as `PieceWriter` takes it to be. */
function takesPieces(sftp: SFTPWrapper): boolean {
  const { _requests, _writeReqid, _buffer, _waitWindow, _protocol, outgoing } = sftp as unknown as Partial<Channel>;
  return (
    typeof _requests === 'object' &&
    typeof _writeReqid === 'number' &&
    Array.isArray(_buffer) &&
    typeof _waitWindow === 'boolean' &&
    typeof _protocol?.channelData === 'function' &&
    typeof _protocol._cipher?.allocPacket === 'function' &&
    typeof outgoing?.window === 'number' &&
    typeof outgoing.packetSize === 'number'
  );
}

/** Writes blocks of files, over memory that is used again and again. */
export class PieceWriter {
  readonly #channel: Channel;
  readonly #packets: Packets;

  constructor(sftp: SFTPWrapper, socket: Socket) {
    this.#channel = sftp as unknown as Channel;
    this.#packets = new Packets(socket, largestPieceBytes + dataHeaderBytes);
  }

  /**
   * As `sftp.write`, but that the bytes go from the caller's memory into packets. What the server's window has no room for
   * waits there: `letGo` has to be called before the caller uses that memory again.
   */
  write(handle: Buffer, bytes: Buffer, at: number, answer: (error?: Error) => void): void {
    const channel = this.#channel;
    const id = (channel._writeReqid + 1) >>> 0;
    channel._writeReqid = id;
    channel._requests[id] = { cb: answer };
    channel._buffer.push(headerOf(id, handle, bytes.length, at), bytes);
    // What waits already goes first.
    if (!channel._waitWindow) this.#sendWaiting();
  }

  /** Nothing that waits refers to the caller's memory any more. It is sent all the same: the server would take what follows for the rest. */
  letGo(bytes: Buffer): void {
    const { _buffer: waiting } = this.#channel;
    for (const [index, piece] of waiting.entries()) if (isWithin(piece, bytes)) waiting[index] = Buffer.from(piece);
  }

  /** ssh2 calls it again when the server has opened its window; its own function for that does the same with what waits. */
  readonly #sendWaiting = (): void => {
    const channel = this.#channel;
    const { outgoing, _protocol: protocol } = channel;
    this.#packets.serve(protocol._cipher);
    channel._chunkcb = undefined;
    let sent = 0;
    for (; sent < channel._buffer.length && outgoing.state === 'open'; sent++) {
      const rest = sendPiece(channel, channel._buffer[sent]!);
      if (rest === null) continue;
      channel._buffer[sent] = rest;
      break;
    }
    channel._buffer.splice(0, sent);
    this.#packets.reclaim();
    if (outgoing.window > 0) return;
    channel._waitWindow = true;
    channel._chunkcb = this.#sendWaiting;
  };
}

/** Sends what the window has room for, and gives the rest. */
function sendPiece({ outgoing, _protocol: protocol }: Channel, piece: Buffer): Buffer | null {
  let from = 0;
  while (from < piece.length && outgoing.window > 0) {
    const length = Math.min(piece.length - from, outgoing.window, outgoing.packetSize, largestPieceBytes);
    outgoing.window -= length;
    protocol.channelData(outgoing.id, piece.subarray(from, from + length));
    from += length;
  }
  return from < piece.length ? piece.subarray(from) : null;
}

function isWithin(piece: Buffer, bytes: Buffer): boolean {
  return (
    piece.buffer === bytes.buffer &&
    piece.byteOffset >= bytes.byteOffset &&
    piece.byteOffset + piece.length <= bytes.byteOffset + bytes.length
  );
}

function headerOf(id: number, handle: Buffer, length: number, at: number): Buffer {
  const header = Buffer.allocUnsafe(headerBytes + handle.length);
  header.writeUInt32BE(header.length - 4 + length, 0);
  header[4] = writeType;
  header.writeUInt32BE(id, 5);
  header.writeUInt32BE(handle.length, 9);
  header.set(handle, 13);
  header.writeBigUInt64BE(BigInt(at), 13 + handle.length);
  header.writeUInt32BE(length, 21 + handle.length);
  return header;
}

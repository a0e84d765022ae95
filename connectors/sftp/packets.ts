import { randomFillSync } from 'node:crypto';
import type { Socket } from 'node:net';

/** Of one connection: what the window of OpenSSH lets be under way, twice. The rest is left to the garbage collector. */
const mostPackets = 128;
/** What is smaller costs the collector little. */
const smallestPayloadBytes = 4 * 1024;
const headerBytes = 5;
const smallestPadding = 4;
const nothing = Buffer.alloc(0);
/** How a cipher pads, and what it adds: RFC 5647 for AES-GCM; chacha20-poly1305 has blocks of 8. */
const layouts = [
  { blockBytes: 16, tagBytes: 16 },
  { blockBytes: 8, tagBytes: 16 },
] as const;

type Layout = (typeof layouts)[number];

/** The encrypting half of a connection in ssh2 1.17.0; a change of keys brings another. What it encrypts goes to the socket at once. */
export interface Cipher {
  /** Memory for a packet: length, length of the padding, room for the payload, padding, room for the tag. */
  allocPacket(payloadBytes: number): Buffer;
}

/**
 * Memory of packets, used again when the kernel has them. ssh2 makes each packet of new memory, together as many bytes as
 * are sent. Those that wait for the kernel while V8 collects what is young are then taken for old, and only a collection of
 * everything frees them: that is 50 for each GiB.
 */
export class Packets {
  readonly #socket: Socket;
  readonly #payloadBytes: number;
  readonly #free: Buffer[] = [];
  #used: Buffer[] = [];
  #cipher: Cipher | undefined;

  /** Payloads up to that size get their memory here. */
  constructor(socket: Socket, payloadBytes: number) {
    this.#socket = socket;
    this.#payloadBytes = payloadBytes;
  }

  /** Has the cipher take its packets from here. One that lays them out in another way goes on as it was. */
  serve(cipher: Cipher): void {
    if (this.#cipher === cipher) return;
    this.#cipher = cipher;
    const allocate = cipher.allocPacket.bind(cipher);
    const layout = layouts.find((each) => isLaidOut(allocate, each));
    if (layout === undefined) return;
    cipher.allocPacket = (payloadBytes) =>
      payloadBytes < smallestPayloadBytes || payloadBytes > this.#payloadBytes
        ? allocate(payloadBytes)
        : this.#take(payloadBytes, layout);
  }

  #take(payloadBytes: number, layout: Layout): Buffer {
    const { padding, packetBytes } = sizesOf(payloadBytes, layout);
    // Padding is to be random: what is there is, or is what an earlier packet was encrypted to.
    const memory = this.#free.pop() ?? randomFillSync(Buffer.allocUnsafeSlow(largestBytes(this.#payloadBytes)));
    if (this.#used.length < mostPackets) this.#used.push(memory);
    const packet = memory.subarray(0, packetBytes);
    packet.writeUInt32BE(packetBytes - layout.tagBytes - 4, 0);
    packet[4] = padding;
    return packet;
  }

  /** To be called when what was taken has been given to the socket: it is free when the kernel has it. */
  reclaim(): void {
    if (this.#used.length === 0 || !this.#socket.writable) return;
    const used = this.#used;
    this.#used = [];
    // An empty write is answered after those before it.
    this.#socket.write(nothing, (error) => {
      if (!error) this.#free.push(...used.slice(0, mostPackets - this.#free.length));
    });
  }
}

function isLaidOut(allocate: (payloadBytes: number) => Buffer, layout: Layout): boolean {
  // One whole block of sizes: each has another padding.
  return Array.from({ length: layout.blockBytes }, (_, more) => smallestPayloadBytes + more).every((payloadBytes) => {
    const { padding, packetBytes } = sizesOf(payloadBytes, layout);
    const packet = allocate(payloadBytes);
    return (
      packet.length === packetBytes &&
      packet.readUInt32BE(0) === packetBytes - layout.tagBytes - 4 &&
      packet[4] === padding
    );
  });
}

/** The length itself is not counted when the rest is padded to whole blocks. */
function sizesOf(payloadBytes: number, { blockBytes, tagBytes }: Layout): { padding: number; packetBytes: number } {
  const rest = blockBytes - ((1 + payloadBytes) % blockBytes);
  const padding = rest < smallestPadding ? rest + blockBytes : rest;
  return { padding, packetBytes: headerBytes + payloadBytes + padding + tagBytes };
}

function largestBytes(payloadBytes: number): number {
  return Math.max(
    ...layouts.map(({ blockBytes, tagBytes }) => headerBytes + payloadBytes + smallestPadding + blockBytes + tagBytes),
  );
}

import type { OnReadOpts, Socket } from 'node:net';
import { buildConnector } from 'undici';

const readBytes = 256 * 1024;
/** Larger than any head that undici takes. */
const headBytes = 16 * 1024;

/**
 * Connects with plain TCP so that what arrives is read into one buffer for the whole life of the connection. Node.js takes new
 * memory of 64 KiB for each read otherwise, and V8 collects everything again and again for it.
 *
 * Undici takes a chunk out of the stream and is done with it in the same turn, but for the pieces of a head that is not yet complete:
 * it keeps them as they are. A head begins a chunk, since no request is sent before the answer to the last has ended, so a chunk
 * in which one is incomplete is small; small ones are copied. The socket is read again when undici has taken the chunk.
 */
export function lending(
  terms: buildConnector.BuildOptions,
  options: buildConnector.Options,
  callback: buildConnector.Callback,
): void {
  let socket: Socket | undefined;
  const onread: OnReadOpts = {
    buffer: Buffer.allocUnsafeSlow(readBytes),
    callback(bytes, memory) {
      const chunk = Buffer.from(memory.buffer, memory.byteOffset, bytes);
      socket!.push(bytes <= headBytes ? Buffer.from(chunk) : chunk);
      // Reading stops here, and goes on by itself when the stream is asked for more.
      return false;
    },
  };
  const connector = buildConnector({ ...terms, onread } as buildConnector.BuildOptions);
  connector(options, (...result) => {
    if (result[1] !== null) socket = result[1] as Socket;
    callback(...result);
  });
}

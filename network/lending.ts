import type { OnReadOpts, Socket } from 'node:net';
import { buildConnector } from 'undici';

const readBytes = 256 * 1024;
/** Larger than any head that undici takes. A socket that holds so much unread is not read ahead. */
const headBytes = 16 * 1024;

/**
 * Connects with plain TCP so that what arrives is read into one buffer for the whole life of the connection. Node.js takes new
 * memory of 64 KiB for each read otherwise, and V8 collects everything again and again for it.
 *
 * Undici takes a chunk out of the stream and is done with it in the same turn, but for two things that it keeps, which are copied: the
 * pieces of a head that is not yet complete, and the rest of a chunk in which a handler has paused the answer. A head begins a chunk,
 * since no request is sent before the answer to the last has ended, so a chunk in which one is incomplete is small.
 */
export function lending(
  terms: buildConnector.BuildOptions,
  options: buildConnector.Options,
  callback: buildConnector.Callback,
): void {
  let socket: Socket | undefined;
  const reading: { onread: OnReadOpts; highWaterMark: number } = {
    highWaterMark: headBytes,
    onread: {
      buffer: Buffer.allocUnsafeSlow(readBytes),
      callback(bytes, memory) {
        const chunk = Buffer.from(memory.buffer, memory.byteOffset, bytes);
        socket!.push(bytes <= headBytes ? Buffer.from(chunk) : chunk);
        // Reading stops here, and goes on by itself when the stream is asked for more: of a paused answer the chunk waits, and
        // keeps its memory.
        return false;
      },
    },
  };
  // What undici does not name it hands on to `net.connect`.
  const connector = buildConnector({ ...terms, ...reading });
  connector(options, (...result) => {
    if (result[1] !== null) {
      socket = result[1] as Socket;
      keepWhatIsPutBack(socket);
    }
    callback(...result);
  });
}

/** The socket is being read again by then, into the memory in which the rest lies. */
function keepWhatIsPutBack(socket: Socket): void {
  const unshift = socket.unshift.bind(socket);
  socket.unshift = (rest: Buffer) => unshift(Buffer.from(rest));
}

import type { Connector, Version } from '../../connectors/contract.ts';
import type { Buffers } from './buffers.ts';
import { chooseFlow, pump } from './pump.ts';

/** SHA-256 of a file at an endpoint, in hexadecimal. Throws not-found, and conflict when it is not that version. */
export async function hashFile(
  connector: Connector,
  path: string,
  version: Version,
  { buffers, signal, onBytes }: { buffers: Buffers; signal: AbortSignal; onBytes(bytes: number): void },
): Promise<string> {
  const flow = chooseFlow(version.size, connector.capabilities, null);
  const memory = await buffers.reserve(flow.blocks, flow.blockBytes, signal);
  try {
    const source = await connector.open(path, { ifMatch: version }, signal);
    try {
      return await pump(source, { size: version.size, flow, buffers: memory.buffers, write: null, onBytes, signal });
    } finally {
      await source.close();
    }
  } finally {
    memory.release();
  }
}

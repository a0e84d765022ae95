import { createHash } from 'node:crypto';
import type { Connector } from '../../connectors/contract.ts';
import { parseLocation } from '../../language/location.ts';
import { maxTextBytes } from '../../schema/actions/files.ts';
import { WaybillError } from '../../schema/errors.ts';
import type { Json } from '../../schema/plan.ts';
import { useInTurn } from '../limits/inTurn.ts';
import type { ActivityContext, TransferDependencies } from '../transfer/context.ts';
import { type FilesInput, oneFile } from '../transfer/files.ts';
import { choose } from '../transfer/options.ts';

/**
 * `files.read`: a small file as text, as base64 or as JSON. Throws not-found; invalid when it is larger than `maxBytes`, or
 * not what it is to be read as; conflict when it changes while it is read.
 */
export async function readFile(
  { endpoints }: Pick<TransferDependencies, 'endpoints'>,
  input: FilesInput,
  { signal }: ActivityContext,
): Promise<{ text: string; json: Json; size: number; sha256: string }> {
  const { with: given, tenantId } = input;
  const place = oneFile(parseLocation(given.at ?? null, input.endpoints), 'at');
  const encoding = choose(given, 'encoding', ['utf-8', 'base64']);
  const parse = choose(given, 'parse', ['none', 'json']);
  if (encoding === 'base64' && parse === 'json')
    throw new WaybillError('invalid', 'a file that is read as base64 cannot be parsed as JSON', { field: 'parse' });
  const maxBytes = readLimit(given.maxBytes);
  const at = { tenantId, endpoint: place.endpoint };
  const bytes = await useInTurn(endpoints, at, signal, (connector) => readWhole(connector, place, maxBytes, signal));
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  if (encoding === 'base64') return { text: bytes.toString('base64'), json: null, size: bytes.length, sha256 };
  const text = asText(bytes, place);
  if (parse === 'none') return { text, json: null, size: bytes.length, sha256 };
  return { text: '', json: asJson(text, place), size: bytes.length, sha256 };
}

interface Place {
  endpoint: string;
  path: string;
}

function readLimit(given: Json | undefined): number {
  if (given === undefined || given === null) return maxTextBytes;
  if (typeof given === 'number' && Number.isInteger(given) && given >= 1 && given <= maxTextBytes) return given;
  throw new WaybillError('invalid', `maxBytes must be a whole number from 1 to ${maxTextBytes}`, { field: 'maxBytes' });
}

async function readWhole(
  connector: Connector,
  { endpoint, path }: Place,
  maxBytes: number,
  signal: AbortSignal,
): Promise<Buffer> {
  const entry = await connector.stat(path, signal);
  if (entry.kind !== 'file') throw invalid(`is a ${entry.kind}, not a file`, { endpoint, path });
  if (entry.size > maxBytes)
    throw invalid(
      `has ${entry.size} bytes, and a step reads ${maxBytes} at most; deliver it with transfer.copy instead`,
      {
        endpoint,
        path,
      },
    );
  const source = await connector.open(path, { ifMatch: entry }, signal);
  try {
    // One byte more than there should be shows that the file has grown.
    const buffer = Buffer.alloc(entry.size + 1);
    const size = await source.read(buffer, 0, signal);
    if (size === entry.size) return buffer.subarray(0, size);
    throw new WaybillError('conflict', 'the file changed while it was read', { operation: 'reading', endpoint, path });
  } finally {
    await source.close();
  }
}

function asText(bytes: Buffer, place: Place): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw invalid('is not UTF-8 text; read it with encoding: base64', place);
  }
}

function asJson(text: string, place: Place): Json {
  try {
    return JSON.parse(text) as Json;
  } catch (error) {
    // The parser quotes what it could not read, and content has no place in an error.
    const at = /at position (\d+)/.exec(error instanceof Error ? error.message : '')?.[1];
    throw invalid(`is not JSON${at === undefined ? '' : ` (the mistake is at character ${Number(at) + 1})`}`, place);
  }
}

function invalid(what: string, { endpoint, path }: Place): WaybillError {
  return new WaybillError('invalid', `${path}: ${what}`, { operation: 'reading', endpoint, path });
}

import { createHash } from 'node:crypto';
import type { Connector } from '../../connectors/contract.ts';
import { parseLocation } from '../../language/location.ts';
import { forgetStepWrite, rememberStepWrite } from '../../prisma/ledger.ts';
import { maxTextBytes } from '../../schema/actions/files.ts';
import { WaybillError } from '../../schema/errors.ts';
import { parentFolder } from '../../schema/paths.ts';
import type { Json } from '../../schema/plan.ts';
import { nameError } from '../endpointErrors.ts';
import { useInTurn } from '../limits/inTurn.ts';
import { stepDigest } from '../messages.ts';
import { type ActivityContext, limits, type TransferDependencies } from '../transfer/context.ts';
import { type FilesInput, oneFile, recordOfStep } from '../transfer/files.ts';
import { hashFile } from '../transfer/hashFile.ts';
import { type ConflictRule, choose, conflictRules } from '../transfer/options.ts';
import { isKind, statIfThere, versionPath } from '../transfer/relocate.ts';

export interface WrittenFile {
  path: string;
  bytes: number;
  /** hexadecimal */
  sha256: string;
}

type Dependencies = Pick<TransferDependencies, 'endpoints' | 'store' | 'buffers' | 'log'>;

/**
 * `files.write`: a small file, whole or not at all. Safe twice: what an earlier attempt of the step has written is found by
 * its event, or by its bytes when the event was lost, and is not written again. Throws exists, invalid, conflict when
 * somebody else is faster, whatever the endpoint throws.
 */
export async function writeFile(
  dependencies: Dependencies,
  input: FilesInput,
  context: ActivityContext,
): Promise<WrittenFile> {
  const { with: given, tenantId } = input;
  const place = oneFile(parseLocation(given.to ?? null, input.endpoints), 'to');
  const rule = choose(given, 'onConflict', conflictRules);
  const content = contentOf(given);
  const earlier = await writtenEarlier(dependencies, input);
  if (earlier !== null) return earlier;
  const sha256 = createHash('sha256').update(content).digest('hex');
  const unfinished = unfinishedWrite(dependencies, input, place.endpoint);
  const work = { dependencies, context, content, sha256, unfinished, deliveryId: `step-${stepDigest(input)}` };
  const at = { tenantId, endpoint: place.endpoint };
  const path = await useInTurn(dependencies.endpoints, at, context.signal, (connector) =>
    write({ ...work, connector }, place.path, rule).catch((error: unknown) => {
      throw nameError(error, place.endpoint, place.path);
    }),
  );
  await unfinished.forget();
  const written = { path, bytes: content.length, sha256 };
  await recordOfStep(dependencies, input, (events) => [
    events.step('file.written', input.stepKey, { endpoint: place.endpoint, ...written }),
  ]);
  return written;
}

function contentOf({ text, json }: Record<string, Json>): Buffer {
  const hasText = text !== undefined && text !== null;
  if (hasText === (json !== undefined))
    throw new WaybillError('invalid', 'give either `text` or `json`', { field: hasText ? 'json' : 'text' });
  if (hasText && typeof text !== 'string')
    throw new WaybillError('invalid', '`text` must be a text; give anything else as `json`', { field: 'text' });
  const content = Buffer.from(hasText ? (text as string) : `${JSON.stringify(json, null, 2)}\n`, 'utf8');
  if (content.length > maxTextBytes)
    throw new WaybillError('invalid', `the content has ${content.length} bytes, more than ${maxTextBytes}`, {
      field: hasText ? 'text' : 'json',
    });
  return content;
}

/** What the step's event says that it wrote, or null. The file itself may have been taken away since. */
async function writtenEarlier({ store }: Dependencies, input: FilesInput): Promise<WrittenFile | null> {
  const { tenantId, runId, stepKey } = input;
  const [row] = await store.sql(tenantId, (sql) =>
    sql.query<{ data: WrittenFile }>(
      `select data from audit_event where tenant_id = $1::uuid and dedupe_key = $2::text and type = 'file.written'`,
      [tenantId, `file.written/${runId}/${stepKey}`],
    ),
  );
  return row === undefined ? null : { path: row.data.path, bytes: row.data.bytes, sha256: row.data.sha256 };
}

/** What the sweep goes by when this worker dies. */
interface UnfinishedWrite {
  remember(path: string): Promise<void>;
  forget(): Promise<void>;
}

function unfinishedWrite({ store }: Dependencies, input: FilesInput, endpoint: string): UnfinishedWrite {
  const { tenantId } = input;
  return {
    remember: (path) =>
      store.sql(tenantId, (sql) =>
        rememberStepWrite(sql, tenantId, { ...input, endpoint, folder: parentFolder(path) }),
      ),
    forget: () => store.sql(tenantId, (sql) => forgetStepWrite(sql, tenantId, input)),
  };
}

interface Writing {
  connector: Connector;
  dependencies: Dependencies;
  context: ActivityContext;
  content: Buffer;
  sha256: string;
  unfinished: UnfinishedWrite;
  /** Names the temporary file: another attempt of the step puts its own in its place. */
  deliveryId: string;
}

async function write(work: Writing, path: string, rule: ConflictRule): Promise<string> {
  for (let version = 1; version <= limits.versions; version++) {
    const candidate = version === 1 ? path : versionPath(path, version);
    try {
      await publish(work, candidate, rule === 'overwrite');
      return candidate;
    } catch (error) {
      if (!isKind(error, 'exists') || rule === 'overwrite') throw error;
      const mayBeOurs = rule === 'skip-identical' || work.context.attempt > 1;
      if (mayBeOurs && (await hasSameBytes(work, candidate))) return candidate;
      if (rule !== 'version') throw error;
    }
  }
  throw new WaybillError('exists', `${path} and its versions up to v${limits.versions} exist`, { path });
}

async function publish(
  { connector, context, content, sha256, unfinished, deliveryId, dependencies }: Writing,
  path: string,
  replace: boolean,
) {
  const { signal } = context;
  if (!replace && (await statIfThere(connector, path, signal)) !== null)
    throw new WaybillError('exists', `${path} exists already`, { operation: 'writing', path });
  await unfinished.remember(path);
  const sink = await connector.begin(path, { size: content.length, deliveryId, replace, modified: null }, signal);
  try {
    const { blockBytes } = connector.capabilities;
    for (let at = 0; at < content.length; at += blockBytes)
      await sink.write(content.subarray(at, at + blockBytes), at, signal);
    await sink.seal({ sha256 }, signal);
    await sink.commit(signal);
  } catch (error) {
    await sink
      .abort()
      .then(unfinished.forget)
      .catch((cause: unknown) => dependencies.log.warn({ path, cause: String(cause) }, 'a temporary file stays'));
    throw error;
  }
}

async function hasSameBytes(
  { connector, dependencies, context, content, sha256 }: Writing,
  path: string,
): Promise<boolean> {
  const found = await statIfThere(connector, path, context.signal);
  if (found?.kind !== 'file' || found.size !== content.length) return false;
  const reading = { buffers: dependencies.buffers, signal: context.signal, onBytes: () => undefined };
  return (await hashFile(connector, path, found, reading)) === sha256;
}

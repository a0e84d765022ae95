import type { Capabilities, Connector, ConnectorContext, Health } from '../contract.ts';
import { createRedactor } from '../redaction.ts';
import { Bucket } from './bucket.ts';
import { copyObject, removeObject, renameObject } from './copying.ts';
import { chooseCredentials } from './credentials.ts';
import { makeFolder } from './folders.ts';
import { listFolder } from './listing.ts';
import { statPath } from './objects.ts';
import { limits, type S3Patience, type S3Settings, s3Patience } from './settings.ts';
import { createSign } from './signing.ts';
import { beginSink } from './sink.ts';
import { openSource } from './source.ts';
import { sweepUploads } from './sweep.ts';
import { discardUpload } from './uploads.ts';

/** Connects on the first call. Throws invalid when `ca` is no certificate, forbidden without keys where the machine's are not lent. */
export function openS3(
  settings: S3Settings,
  { accessKeyId, ...secrets }: { accessKeyId?: string; secretAccessKey?: string; sessionToken?: string; ca?: string },
  context: ConnectorContext,
  patience: S3Patience = s3Patience,
): Connector {
  const { log } = context;
  const sign = createSign(settings, chooseCredentials(accessKeyId, secrets, context));
  const { secretAccessKey, sessionToken, ca } = secrets;
  const redact = createRedactor([secretAccessKey, sessionToken].filter((secret) => secret !== undefined));
  // A pool of our own, so that closing the endpoint closes its connections.
  const dispatcher = context.dialler.httpWith(ca === undefined ? {} : { ca }, { lendsBody: true });
  const bucket = new Bucket({ settings, dispatcher, sign, patience, redact, log });
  return {
    get capabilities() {
      return capabilitiesOf(bucket);
    },
    check: (signal) => check(bucket, signal),
    stat: (path, signal) => statPath(bucket, path, signal),
    list: (folder, options, signal) => listFolder(bucket, folder, options, signal),
    open: (path, options, signal) => openSource(bucket, path, options, signal),
    begin: (path, options, signal) => beginSink(bucket, path, options, signal),
    remove: (path, signal) => removeObject(bucket, path, signal),
    rename: (from, to, options, signal) => renameObject(bucket, from, to, options, signal),
    copy: (from, to, options, signal) => copyObject(bucket, from, to, options, signal),
    makeFolder: (path, signal) => makeFolder(bucket, path, signal),
    discard: (token, signal) => discardUpload(bucket, token, signal),
    sweep: (folder, olderThanMs, signal, kept = []) => sweepUploads(bucket, folder, { olderThanMs, kept }, signal),
    close: () => dispatcher.destroy(),
  };
}

/** Before the server has answered, nothing is promised that depends on it. */
function capabilitiesOf(bucket: Bucket): Capabilities {
  return {
    // A copy and a removal: not atomic, see `renameObject`.
    rename: true,
    atomicNoReplace: bucket.isStrict,
    readsInFlight: limits.readsInFlight,
    writesInFlight: limits.partsInFlight,
    blockBytes: limits.readBytes,
    parts: { bytes: limits.partBytes, most: limits.parts },
    filesInFlight: limits.filesInFlight,
    // Only in the metadata, which listings do not show.
    modifiedTimeKept: false,
    resume: true,
    serverCopy: true,
    caseSensitive: true,
    listAfter: true,
  };
}

/** Lists one key: that proves the address, the bucket, the signature and the right that every step needs. */
async function check(bucket: Bucket, signal: AbortSignal): Promise<Health> {
  const startedAt = performance.now();
  const query = { 'list-type': '2', prefix: bucket.settings.prefix, 'max-keys': '1' };
  await bucket.ask({ method: 'GET', query, operation: 'checking', path: '/' }, signal);
  const roundTripMs = Math.round(performance.now() - startedAt);
  return { server: bucket.server ?? 'S3', roundTripMs, identity: null };
}

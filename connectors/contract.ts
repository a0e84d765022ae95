import type { Static, TObject } from 'typebox';
import type { Dialler } from '../network/contract.ts';

/** What every live endpoint can do, whatever it is for. */
export interface Reachable {
  /** Reaches the server and signs in, without sending anything. Throws what a step would throw: unauthenticated, unavailable, egress-denied ... */
  check(signal: AbortSignal): Promise<Health>;
  /** Closes every connection; pending calls end in `unavailable`. Safe twice. */
  close(): Promise<void>;
}

/**
 * A live connection to one endpoint that holds files. Methods throw WaybillError with a kind; none of them retries; none buffers a whole
 * file. Paths are normalised (`schema/paths.ts`) and relative to the endpoint's root, which they cannot leave.
 * Every method may be called concurrently; the connector multiplexes or pools.
 */
export interface Connector extends Reachable {
  readonly capabilities: Capabilities;
  /** Facts of what is at `path`; symbolic links are followed. Throws not-found. */
  stat(path: string, signal: AbortSignal): Promise<Entry>;
  /** The entries of a folder, in pages, in the server's order. Throws not-found before the first page when the folder is absent. */
  list(folder: string, options: ListOptions, signal: AbortSignal): AsyncIterable<Entry[]>;
  /** Opens a file for positional reads. Throws not-found, or conflict when its version is not `ifMatch`, before the first byte. */
  open(path: string, options: OpenOptions, signal: AbortSignal): Promise<Source>;
  /** Prepares a write; nothing is visible at `path` before `commit`. Creates missing parent folders. */
  begin(path: string, options: BeginOptions, signal: AbortSignal): Promise<Sink>;
  /** Removes a file. Removing what is gone succeeds, so that a retried activity is safe. */
  remove(path: string, signal: AbortSignal): Promise<void>;
  /** Renames within the endpoint, creating the parent folder of `to`. Without `replace`, throws `exists` when `to` exists, atomically where the server can. Throws not-found. */
  rename?(from: string, to: string, options: { replace: boolean }, signal: AbortSignal): Promise<void>;
  /**
   * Copies within the endpoint without moving bytes through us, creating the parent folder of `to`. Visible whole or not at all; the modified
   * time goes with it where it is kept. Without `replace`, throws exists; throws not-found, and conflict when `from` is not the version
   * `ifMatch`. Absent, or `unsupported` where `capabilities.serverCopy` is false: copies travel through us.
   */
  copy?(from: string, to: string, options: CopyOptions, signal: AbortSignal): Promise<Entry>;
  /** Makes the folder and what is missing above it; gives whether anything was missing. Throws exists when a file is in the way. */
  makeFolder?(path: string, signal: AbortSignal): Promise<boolean>;
  /** Removes an empty folder; one that is gone is success. Throws when something is in it. Absent: there are no folders to remove. */
  removeFolder?(path: string, signal: AbortSignal): Promise<void>;
  /** Removes what an abandoned write left, named by its `Sink.token`; what is gone already is success. Absent: `temporaryPath` is removed. */
  discard?(token: SinkToken, signal: AbortSignal): Promise<void>;
  /**
   * Removes unfinished writes of ours (temporary files, multipart uploads) older than `olderThanMs` in that folder, but for those that `kept`
   * names; gives how many.
   */
  sweep?(folder: string, olderThanMs: number, signal: AbortSignal, kept?: readonly SinkToken[]): Promise<number>;
}

/** A live HTTP interface. It adds the credentials; nothing that it gives or throws holds one of them. */
export interface Requester extends Reachable {
  /**
   * Asks once, and gives whatever status is answered. Throws invalid for a path that leaves the base address and for an
   * answer that is too large, protocol for one that is no text, unavailable, timeout, egress-denied ...
   */
  request(request: OutgoingRequest, signal: AbortSignal): Promise<RequestAnswer>;
}

export interface OutgoingRequest {
  method: string;
  /** Below the base address, with its `/`. */
  path: string;
  query: ReadonlyArray<readonly [string, string]>;
  headers: Record<string, string>;
  body: string | null;
  /** Bytes of the answer that are taken. */
  maxAnswerBytes: number;
}

export interface RequestAnswer {
  status: number;
  /** By lower-case name; cookies are left out. */
  headers: Record<string, string>;
  text: string;
}

/** A live way to tell people something. */
export interface Notifier extends Reachable {
  /** Hands the message over once. Throws unsupported for what this kind of message cannot be, invalid for a recipient that is refused, unavailable ... */
  send(message: OutgoingMessage, signal: AbortSignal): Promise<SendReceipt>;
}

export interface SendReceipt {
  /** Recipients that the server took, at least one; 1 for a channel. */
  accepted: number;
  /** Those that it refused while it took others. */
  rejected: string[];
}

export interface OutgoingMessage {
  /** The same in every attempt; 32 characters of 0-9 and a-f. */
  id: string;
  /** Mail addresses; empty: those of the endpoint. */
  to: readonly string[];
  subject: string | null;
  text: string;
  format: 'text' | 'markdown' | 'html';
}

/** What an endpoint is for, and what opening it gives. */
export interface Services {
  files: Connector;
  requests: Requester;
  messages: Notifier;
}
export type Service = keyof Services;

/** What this endpoint can do, as data; the planner decides from it. */
export interface Capabilities {
  rename: boolean;
  /** `begin(..., { replace: false })` and `rename(..., { replace: false })` are atomic on the server. */
  atomicNoReplace: boolean;
  /** Reads of one file that may be in flight together. */
  readsInFlight: number;
  /** Writes of one file that may be in flight together. */
  writesInFlight: number;
  /** The best size of one read or write, in bytes. */
  blockBytes: number;
  /** A write goes in parts: of `bytes` each (the last may be smaller), more when there would be over `most` of them. null: in any pieces. */
  parts: { bytes: number; most: number } | null;
  /** Small files worth copying at the same time over this connection. */
  filesInFlight: number;
  modifiedTimeKept: boolean;
  /** `begin` can take up a write where a killed process left it. */
  resume: boolean;
  /** `copy` is there. */
  serverCopy: boolean;
  /** `a.csv` and `A.csv` are two files. */
  caseSensitive: boolean;
  /** `list` understands `after`. */
  listAfter: boolean;
}

export interface Entry {
  path: string;
  name: string;
  kind: 'file' | 'folder' | 'link' | 'other';
  /** bytes; 0 for what is not a file */
  size: number;
  /** ISO 8601 UTC with milliseconds (servers that know only seconds give .000Z), or null */
  modified: string | null;
  etag?: string;
}

/** The version of a source file: what makes it "the same file" between listing, reading and a retry. */
export interface Version {
  size: number;
  modified: string | null;
  etag?: string;
}

export interface Health {
  /** `SSH-2.0-OpenSSH_9.2p1`, `local filesystem` ... */
  server: string;
  roundTripMs: number;
  /** What an operator compares: host keys, certificate fingerprints. */
  identity: string | null;
  /** How far the server's clock is ahead of ours, where the protocol tells. */
  clockSkewMs?: number;
}

export interface ListOptions {
  recursive: boolean;
  /** Only what comes after that path in the server's order; needs `capabilities.listAfter`. */
  after?: string;
}

export interface CopyOptions {
  replace: boolean;
  ifMatch?: Version;
}

export interface OpenOptions {
  ifMatch?: Version;
}

export interface Source {
  readonly size: number;
  readonly version: Version;
  /**
   * Fills `buffer` from byte `at` on and gives how many bytes: `buffer.length`, fewer only at the end of the file, 0 past it.
   * Up to `readsInFlight` calls may be pending.
   */
  read(buffer: Uint8Array, at: number, signal: AbortSignal): Promise<number>;
  /** Safe twice. */
  close(): Promise<void>;
}

export interface BeginOptions {
  /** Bytes that will be written. */
  size: number;
  /** Names the temporary file: `.waybill-<deliveryId>.part` beside the target. The same id in a retry replaces what a killed attempt left. */
  deliveryId: string;
  /** false: commit throws `exists` when the target exists by then. */
  replace: boolean;
  /** Modified time to give the target, where the connector can. */
  modified: string | null;
  /**
   * The token of an attempt whose process died or gave up: its bytes are kept, and `received` says how many. When nothing of it is left
   * the write begins anew, with `received` 0. The content must be the same: the caller has compared the versions.
   */
  resume?: SinkToken;
  /** With `resume`: so many bytes before the end of what is there may have holes, since they were in flight together. */
  windowBytes?: number;
}

/** Names an unfinished write, durably: small, without secrets, made by the connector and read by nobody else. */
export type SinkToken = { kind: string } & Record<string, string | number>;

export interface Sink {
  /** Where the bytes can be read until commit; null where they cannot (an upload in parts). */
  readonly temporaryPath: string | null;
  readonly token: SinkToken;
  /** Bytes from the start that the server holds for certain: the writer goes on from there. 0 but after `resume`. */
  readonly received: number;
  /**
   * Whether what the server holds from `at` on are these bytes, as far as it can be told without sending them: checksums of parts, reading
   * back. Asked below `received` only, for blocks or parts as they were written. Absent: cannot be told.
   */
  holds?(bytes: Uint8Array, at: number, signal: AbortSignal): Promise<boolean>;
  /** Settles when the server has the bytes. Up to `writesInFlight` calls may be pending. The buffer is free again when it settles. */
  write(bytes: Uint8Array, at: number, signal: AbortSignal): Promise<void>;
  /**
   * Makes what was written durable and checks its size. Throws integrity when the server's size differs. The file is not yet visible under
   * its name. Gives what will be proven once `commit` has succeeded; `sha256` (hexadecimal) is of what was sent.
   */
  seal(sent: { sha256: string }, signal: AbortSignal): Promise<EvidenceClass>;
  /** Publishes atomically under the final name. Call after `seal`. Throws `exists` (see `replace`); the temporary file is then still there. */
  commit(signal: AbortSignal): Promise<Entry>;
  /** Removes what was written. Safe twice, and after commit does nothing. */
  abort(): Promise<void>;
  /** Lets go of connections and handles, and keeps what was written for `resume`. */
  leave(): Promise<void>;
}

/** The strength of the proof that what arrived is what left; never reported higher than it is. */
export const evidenceClasses = ['size', 'acknowledged-size', 'server-parts', 'server-sha256', 'readback'] as const;
export type EvidenceClass = (typeof evidenceClasses)[number];

/** What a connector may use of the outside world. */
export interface ConnectorContext {
  dialler: Dialler;
  /** Roots of `local` endpoints that the operator allows; `*` allows all. */
  localRoots: readonly string[];
  /** `ambient`: the operator lends the credentials of this machine to `s3` endpoints that have none of their own. */
  awsCredentials?: 'ambient' | 'none';
  log: Log;
}

export interface Log {
  debug(facts: Record<string, unknown>, message: string): void;
  info(facts: Record<string, unknown>, message: string): void;
  warn(facts: Record<string, unknown>, message: string): void;
  error(facts: Record<string, unknown>, message: string): void;
}

/** The declaration of a connector: validation, editor completion, CLI help, docs and redaction come from it. */
export interface ConnectorDefinition<Config extends TObject = TObject, Serves extends Service = Service> {
  kind: string;
  /** What its endpoints are for: an action that needs something else is refused. */
  serves: Serves;
  summary: string;
  config: Config;
  /** Names of the secrets it understands, with what they are. */
  secrets: Record<string, { description: string }>;
  /** Checks what a schema cannot say (sftp: a host key, and one way to sign in). Gives messages with the field. */
  lint?(config: Static<Config>, secretNames: readonly string[]): Array<{ field: string; message: string }>;
  /** For servers that are trusted by the fingerprint of a key. */
  hostKeys?: {
    /** The keys that the server shows now, without signing in. Throws unavailable, timeout, egress-denied, protocol. */
    shown(
      config: Static<Config>,
      context: ConnectorContext,
    ): Promise<Array<{ algorithm: string; fingerprint: string }>>;
    trusted(config: Static<Config>): string[];
    /** The config that trusts these keys and no others. */
    trust(config: Static<Config>, fingerprints: readonly string[]): Static<Config>;
  };
  /** Opens lazily: connects on the first call. */
  open(config: Static<Config>, secrets: Record<string, string>, context: ConnectorContext): Services[Serves];
}

export function defineConnector<Config extends TObject, Serves extends Service>(
  definition: ConnectorDefinition<Config, Serves>,
): ConnectorDefinition<Config, Serves> {
  return definition;
}

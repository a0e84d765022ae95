import type { Dispatcher } from 'undici';
import type { Log } from '../contract.ts';
import { encodePath, fileKey, folderKey } from './address.ts';
import { sumsOf } from './checksums.ts';
import { answerError } from './failures.ts';
import { type Answer, type Request, send } from './requests.ts';
import type { S3Patience, S3Settings } from './settings.ts';
import type { Sign } from './signing.ts';
import { readError } from './xml.ts';

/**
 * What a server calls itself that refuses a write by `If-None-Match: *` and compares the checksums it is given. Others may ignore both.
 * `AmazonS3` is not among them: rclone and others say so too, and Amazon is known by its address.
 */
const strictServers: readonly string[] = ['VERSITYGW'];

export interface Ask {
  method: Request['method'];
  /** Absent: the bucket itself is asked. */
  key?: string;
  query?: Record<string, string>;
  /** Lower-case names. */
  headers?: Record<string, string>;
  body?: Uint8Array;
  /** `x-amz-content-sha256` where it is known already. */
  payload?: string;
  into?: Uint8Array;
  isSlow?: boolean;
  /** What is done to what, for errors. */
  operation: string;
  path: string;
}

export interface BucketLine {
  settings: S3Settings;
  dispatcher: Dispatcher;
  sign: Sign;
  patience: S3Patience;
  redact(text: string): string;
  log: Log;
}

/** A bucket as far as the prefix goes, and what has been learnt about its server. */
export class Bucket {
  readonly settings: S3Settings;
  readonly log: Log;
  /** What the server calls itself; null before it has answered. */
  server: string | null = null;
  /** Bytes of small objects that wait for their commit. */
  waitingBytes = 0;
  #confirms = false;
  readonly #line: BucketLine;

  constructor(line: BucketLine) {
    this.#line = line;
    this.settings = line.settings;
    this.log = line.log;
  }

  /** What is promised here depends on the server. */
  get isStrict(): boolean {
    if (this.settings.isAws) return true;
    return this.server !== null && strictServers.some((name) => this.server!.startsWith(name));
  }

  /** Whether the server is known to compare the SHA-256 it is given with that of the bytes. */
  get comparesSha256(): boolean {
    return this.settings.checksums && (this.isStrict || this.#confirms);
  }

  /** The server has said a SHA-256 that it was given with the bytes. */
  learnConfirmation(): void {
    this.#confirms = true;
  }

  keyOf(path: string): string {
    return fileKey(this.settings.prefix, path);
  }

  folderOf(path: string): string {
    return folderKey(this.settings.prefix, path);
  }

  /** Asks once. Gives a success; throws what `answerError` says of anything else, and what the line throws. */
  async ask(ask: Ask, signal: AbortSignal): Promise<Answer> {
    const { settings, redact } = this.#line;
    const payload = ask.payload ?? sumsOf(ask.body ?? new Uint8Array(), null, settings).payload;
    const answer = await send(
      this.#line,
      {
        method: ask.method,
        path: encodePath(`${settings.bucketPath}${ask.key === undefined ? '' : `/${ask.key}`}` || '/'),
        query: ask.query ?? {},
        headers: { ...ask.headers, 'x-amz-content-sha256': payload },
        ...(ask.body !== undefined && { body: ask.body }),
        ...(ask.into !== undefined && { into: ask.into }),
        ...(ask.isSlow !== undefined && { isSlow: ask.isSlow }),
      },
      signal,
    );
    if (answer.headers.server !== undefined) this.server = answer.headers.server;
    const { operation, path } = ask;
    const { bucket, region } = settings;
    // Where the work takes long, the server says 200 first and how it went afterwards.
    const isSuccess = answer.status < 300 && !(ask.isSlow && readError(answer.text) !== undefined);
    if (isSuccess) return answer;
    throw answerError(answer, { operation, path, bucket, region, redact });
  }
}

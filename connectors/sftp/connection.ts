import type { SFTPWrapper } from 'ssh2';
import { cancellation, throwIfCancelled } from '../../network/cancellation.ts';
import { WaybillError } from '../../schema/errors.ts';
import { connectionError, statusError } from './failures.ts';
import type { Session } from './handshake.ts';
import type { SftpPatience, SftpSettings } from './settings.ts';

type Answer<Value> = (error: Error | null | undefined, value?: Value) => void;

export interface Request<Value> {
  operation: string;
  /** As the pipeline wrote it, for errors. */
  path: string;
  send(sftp: SFTPWrapper, answer: Answer<Value>): void;
  /** Gets the answer when it comes after the request was cancelled: to close a handle, to take a buffer back. */
  late?(value: Value | undefined): void;
  /** Called before the request ends, however it does: what was lent to it is about to be used for something else. */
  ending?(): void;
}

interface Pending {
  sentAtMs: number;
  signal: AbortSignal;
  reject(error: WaybillError): void;
}

/**
 * One SSH connection and its SFTP channel. A request ends in its answer, in `cancelled` as soon as its signal is aborted,
 * in `timeout` when the server falls silent, or in `unavailable` when the connection dies: never not at all.
 */
export class SftpConnection {
  readonly session: Session;
  readonly #settings: SftpSettings;
  readonly #patience: SftpPatience;
  /** In the order in which they were sent. */
  readonly #pending = new Set<Pending>();
  readonly #bySignal = new Map<AbortSignal, Set<Pending>>();
  readonly #onEnd: () => void;
  #answeredAtMs = 0;
  #isGathering = false;
  #watch: NodeJS.Timeout | undefined;
  #ended: WaybillError | undefined;

  constructor(session: Session, settings: SftpSettings, patience: SftpPatience, onEnd: () => void) {
    this.session = session;
    this.#settings = settings;
    this.#patience = patience;
    this.#onEnd = onEnd;
    const lost = (error?: Error) => this.#end(connectionError(error ?? new Error('connection lost'), settings));
    session.client.on('error', lost).on('close', () => lost());
    // The channel alone may end, when the server's SFTP process is killed; without it the connection is of no use.
    session.sftp
      .on('error', lost)
      .on('close', () => lost())
      .on('end', () => lost());
  }

  get isAlive(): boolean {
    return this.#ended === undefined;
  }

  request<Value>(signal: AbortSignal, request: Request<Value>): Promise<Value> {
    return new Promise<Value>((resolve, reject) => {
      if (this.#ended) throw this.#ended;
      throwIfCancelled(signal);
      const giveUp = (error: WaybillError): void => {
        request.ending?.();
        reject(error);
      };
      const pending: Pending = { sentAtMs: performance.now(), signal, reject: giveUp };
      this.#add(pending);
      const answer: Answer<Value> = (error, value) => {
        this.#answeredAtMs = performance.now();
        if (!this.#pending.has(pending)) return request.late?.(value);
        this.#remove(pending);
        request.ending?.();
        if (error) reject(statusError(error, request.operation, request.path));
        else resolve(value as Value);
      };
      this.#gather();
      try {
        request.send(this.session.sftp, answer);
      } catch (error) {
        answer(error as Error);
      }
    });
  }

  /**
   * What is sent before the event loop goes on reaches the kernel in one call: small files are many small packets, and a
   * block is eight of 32 KiB.
   */
  #gather(): void {
    if (this.#isGathering) return;
    this.#isGathering = true;
    const { socket } = this.session;
    socket.cork();
    process.nextTick(() => {
      this.#isGathering = false;
      socket.uncork();
    });
  }

  /** Says goodbye; what is pending ends in `unavailable`. Settles when the socket is gone. Safe twice. */
  async close(): Promise<void> {
    const { client, socket } = this.session;
    const gone = socket.closed
      ? Promise.resolve()
      : new Promise<void>((resolve) => socket.once('close', () => resolve()));
    if (!this.#ended) {
      client.end();
      this.#fail(new WaybillError('unavailable', `the connection to ${this.#settings.host} was closed`));
    }
    const timer = setTimeout(() => socket.destroy(), this.#patience.closeTimeoutMs);
    await gone;
    clearTimeout(timer);
  }

  #end(error: WaybillError): void {
    if (this.#ended) return;
    this.#fail(error);
    this.session.socket.destroy();
  }

  #fail(error: WaybillError): void {
    this.#ended = error;
    clearInterval(this.#watch);
    const pending = [...this.#pending];
    for (const one of pending) {
      this.#remove(one);
      one.reject(error);
    }
    this.#onEnd();
  }

  #add(pending: Pending): void {
    if (this.#pending.size === 0) {
      this.#answeredAtMs = pending.sentAtMs;
      this.#watch ??= setInterval(() => this.#look(), Math.min(1000, this.#patience.answerTimeoutMs / 4)).unref();
    }
    this.#pending.add(pending);
    const sharing = this.#bySignal.get(pending.signal);
    if (sharing) {
      sharing.add(pending);
      return;
    }
    // One listener for all requests under a signal: thousands of them would make each removal a long search.
    this.#bySignal.set(pending.signal, new Set([pending]));
    pending.signal.addEventListener('abort', this.#onAbort, { once: true });
  }

  #remove(pending: Pending): void {
    this.#pending.delete(pending);
    const sharing = this.#bySignal.get(pending.signal);
    sharing?.delete(pending);
    if (sharing?.size !== 0) return;
    this.#bySignal.delete(pending.signal);
    pending.signal.removeEventListener('abort', this.#onAbort);
  }

  readonly #onAbort = (event: Event): void => {
    const signal = event.target as AbortSignal;
    for (const pending of [...(this.#bySignal.get(signal) ?? [])]) {
      this.#remove(pending);
      pending.reject(cancellation(signal));
    }
  };

  #look(): void {
    const [oldest] = this.#pending;
    if (oldest === undefined) return;
    const now = performance.now();
    const { answerTimeoutMs, requestTimeoutMs } = this.#patience;
    const silentMs = now - this.#answeredAtMs;
    if (silentMs < answerTimeoutMs && now - oldest.sentAtMs < requestTimeoutMs) return;
    const { host, port } = this.#settings;
    this.#end(
      new WaybillError('timeout', `${host}:${port} has not answered for ${Math.round(silentMs / 1000)} s`, {
        operation: 'waiting',
        host,
        port,
      }),
    );
  }
}

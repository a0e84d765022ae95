import type { Readable } from 'node:stream';
import type { Dispatcher } from 'undici';
import { cancellation, throwIfCancelled } from '../../network/cancellation.ts';
import { WaybillError } from '../../schema/errors.ts';
import { exchangeError } from '../exchange.ts';
import { encodeQuery } from './address.ts';
import { limits, type S3Patience, type S3Settings } from './settings.ts';
import type { Sign } from './signing.ts';

export interface Request {
  method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE';
  /** Encoded, from the root of the server. */
  path: string;
  query: Record<string, string>;
  /** Lower-case names, `x-amz-content-sha256` among them. */
  headers: Record<string, string>;
  /** Sent as it lies there: not to be changed before the answer. */
  body?: Uint8Array;
  /** Takes the body of a success. What does not fit is an error; nothing is written into it once the call has ended. */
  into?: Uint8Array;
  /** The server works long before it answers. */
  isSlow?: boolean;
}

export interface Answer {
  status: number;
  /** By lower-case name. */
  headers: Record<string, string>;
  /** The body; empty when it went into a buffer. */
  text: string;
  /** Bytes of the body. */
  bytes: number;
}

export interface Line {
  settings: Pick<S3Settings, 'origin' | 'host'>;
  dispatcher: Dispatcher;
  sign: Sign;
  patience: S3Patience;
}

/**
 * Signs a request, sends it once and gives the answer whatever its status. Throws cancelled, timeout as soon as nothing moves any
 * more, unauthenticated without credentials or for a certificate that is not to be trusted, unavailable, egress-denied, protocol.
 */
export async function send(line: Line, request: Request, signal: AbortSignal): Promise<Answer> {
  throwIfCancelled(signal);
  const headers = await line.sign(request);
  throwIfCancelled(signal);
  return new Exchange(line, request, signal).run(headers);
}

class Exchange {
  readonly #line: Line;
  readonly #request: Request;
  readonly #signal: AbortSignal;
  readonly #chunks: Buffer[] = [];
  #controller: Dispatcher.DispatchController | undefined;
  #timer: NodeJS.Timeout | undefined;
  #status = 0;
  #headers: Record<string, string> = {};
  #bytes = 0;
  #isSettled = false;
  #resolve: (answer: Answer) => void = () => undefined;
  #reject: (error: Error) => void = () => undefined;

  constructor(line: Line, request: Request, signal: AbortSignal) {
    this.#line = line;
    this.#request = request;
    this.#signal = signal;
  }

  run(headers: Record<string, string>): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
      this.#signal.addEventListener('abort', this.#onAbort, { once: true });
      this.#waitFor(this.#line.patience.startTimeoutMs);
      const { method, path, query } = this.#request;
      const search = encodeQuery(query);
      this.#line.dispatcher.dispatch(
        {
          origin: this.#line.settings.origin,
          path: search === '' ? path : `${path}?${search}`,
          method,
          headers: { ...headers, 'user-agent': 'waybill', ...this.#lengthOfBody() },
          body: this.#body(),
          // Deadlines are kept here, where progress in both directions is seen.
          headersTimeout: 0,
          bodyTimeout: 0,
        },
        {
          onRequestStart: (controller) => this.#start(controller),
          onResponseStart: (_, status, answered) => this.#readHead(status, answered),
          onResponseData: (_, chunk) => this.#readBody(chunk),
          onResponseEnd: () => this.#succeed(),
          onResponseError: (_, error) => this.#fail(error),
        },
      );
    });
  }

  #lengthOfBody(): Record<string, string> {
    const { body, method } = this.#request;
    if (body !== undefined) return { 'content-length': String(body.length) };
    return method === 'PUT' || method === 'POST' ? { 'content-length': '0' } : {};
  }

  #body(): Buffer | Readable | null {
    const { body } = this.#request;
    if (body === undefined || body.length === 0) return null;
    if (body.length <= limits.sliceBytes) return Buffer.from(body.buffer, body.byteOffset, body.length);
    // An iterable is taken as well; the declaration of the library does not say so.
    return this.#slices(body) as unknown as Readable;
  }

  /** The next slice is asked for when the socket has taken the one before. */
  *#slices(body: Uint8Array): Iterable<Uint8Array> {
    for (let at = 0; at < body.length; at += limits.sliceBytes) {
      this.#moved();
      yield body.subarray(at, at + limits.sliceBytes);
    }
    // What the socket has taken may still wait in buffers on the way: on a slow line that is seconds of silence.
    if (!this.#isSettled)
      this.#waitFor(this.#patienceMs() + (body.length / this.#line.patience.slowestBytesPerSecond) * 1000);
  }

  #patienceMs(): number {
    const { answerTimeoutMs, slowAnswerTimeoutMs } = this.#line.patience;
    return this.#request.isSlow ? slowAnswerTimeoutMs : answerTimeoutMs;
  }

  #start(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#isSettled) {
      controller.abort(new Error('given up before it began'));
      return;
    }
    this.#waitFor(this.#patienceMs());
  }

  #waitFor(timeoutMs: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      const { host } = this.#line.settings;
      const message = `${host} did not answer, nor take or give a byte, within ${timeoutMs / 1000} s`;
      this.#giveUp(new WaybillError('timeout', message, { operation: 'asking', host }));
    }, timeoutMs);
  }

  #moved(): void {
    // A timer that was cleared would run again.
    if (!this.#isSettled) this.#timer?.refresh();
  }

  readonly #onAbort = (): void => this.#giveUp(cancellation(this.#signal));

  #readHead(status: number, headers: Record<string, string | string[] | undefined>): void {
    this.#moved();
    this.#status = status;
    for (const [name, value] of Object.entries(headers))
      if (value !== undefined) this.#headers[name] = Array.isArray(value) ? value.join(', ') : value;
  }

  #readBody(chunk: Buffer): void {
    if (this.#isSettled) return;
    this.#moved();
    const { into } = this.#request;
    const isWanted = into !== undefined && this.#status < 300;
    if (this.#bytes + chunk.length > (isWanted ? into.length : limits.answerBytes)) this.#refuseMore();
    else if (isWanted) into.set(chunk, this.#bytes);
    // The line reads into the memory of the chunk again.
    else this.#chunks.push(Buffer.from(chunk));
    this.#bytes += chunk.length;
  }

  #refuseMore(): void {
    const { host } = this.#line.settings;
    this.#giveUp(new WaybillError('protocol', `${host} sends more than was asked for`, { operation: 'asking', host }));
  }

  #succeed(): void {
    if (this.#isSettled) return;
    this.#settle();
    const text = Buffer.concat(this.#chunks).toString('utf8');
    this.#resolve({ status: this.#status, headers: this.#headers, text, bytes: this.#bytes });
  }

  #fail(error: Error): void {
    if (this.#isSettled) return;
    this.#settle();
    const { host } = this.#line.settings;
    this.#reject(exchangeError(error, host, { operation: 'asking', host, cause: error }));
  }

  /** Ends the call now, and the connection with it: what the server would still say belongs to nobody. */
  #giveUp(error: WaybillError): void {
    if (this.#isSettled) return;
    this.#settle();
    this.#reject(error);
    this.#controller?.abort(error);
  }

  #settle(): void {
    this.#isSettled = true;
    clearTimeout(this.#timer);
    this.#signal.removeEventListener('abort', this.#onAbort);
  }
}

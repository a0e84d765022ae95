import type { Socket } from 'node:net';
import type { Dispatcher } from 'undici';

/** The only way out of the process. Every address is resolved and checked by the egress guard before a packet leaves. */
export interface Dialler {
  /** A connected TCP socket. Throws egress-denied, unavailable (refused, unresolvable) or timeout. */
  connect(host: string, port: number, options: { timeoutMs: number; signal?: AbortSignal }): Promise<Socket>;
  /** An undici dispatcher behind the same guard, for webhooks and HTTP connectors. Redirects are not followed. */
  readonly http: Dispatcher;
  /** As `http`, with trust and identity of its own for TLS; the caller closes it. Throws invalid when a text is no certificate or key. */
  httpWith(identity: TlsIdentity, terms?: HttpTerms): Dispatcher;
  close(): Promise<void>;
}

export interface HttpTerms {
  /**
   * What a handler is given of a body over plain HTTP is its own only until it returns: the connection reads into that memory
   * again. Nobody may use `request` and `fetch` then, which keep what they are given. An answer may be paused.
   */
  lendsBody: boolean;
}

/** Texts in PEM format. */
export interface TlsIdentity {
  /** Authorities to trust, instead of the public ones. */
  ca?: string;
  /** What to show to a server that asks for a certificate, with its key. */
  certificate?: string;
  key?: string;
}

/** Which addresses may be dialled besides public unicast ones. */
export interface EgressPolicy {
  loopback: boolean;
  /** CIDRs of private ranges that the operator opened. */
  allow: readonly string[];
}

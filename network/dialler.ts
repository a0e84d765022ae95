import { connect as connectTcp, type LookupFunction, type Socket } from 'node:net';
import { createSecureContext } from 'node:tls';
import { Agent, buildConnector } from 'undici';
import { WaybillError } from '../schema/errors.ts';
import { outOfOpenFiles, raiseOpenFiles } from '../schema/openFiles.ts';
import { cancellation, orCancelled, throwIfCancelled } from './cancellation.ts';
import type { Dialler, EgressPolicy, TlsIdentity } from './contract.ts';
import { type CheckedAddress, checkPolicy, resolveAllowed } from './egress.ts';
import { lending } from './lending.ts';

/** How long an HTTP connection may take to be made; a caller's own deadline comes on top. */
const httpConnectTimeoutMs = 15_000;
const httpConnectionsPerOrigin = 64;

/** The only way out of the process: see `network/contract.ts`. Throws invalid when an `allow` range is not a CIDR. */
export function createDialler(policy: EgressPolicy): Dialler {
  checkPolicy(policy);
  const http = createAgent(policy, {}, false);
  return {
    http,
    httpWith: (identity, terms) => createAgent(policy, tlsOptions(identity), terms?.lendsBody ?? false),
    connect: (host, port, options) => connectChecked(policy, host, port, options),
    close: () => http.destroy(),
  };
}

async function connectChecked(
  policy: EgressPolicy,
  host: string,
  port: number,
  options: { timeoutMs: number; signal?: AbortSignal },
): Promise<Socket> {
  const deadline = AbortSignal.timeout(options.timeoutMs);
  const signal = options.signal ? AbortSignal.any([options.signal, deadline]) : deadline;
  try {
    if (options.signal) throwIfCancelled(options.signal);
    const addresses = await orCancelled(resolveAllowed(host, policy), signal);
    return await openSocket(host, port, addresses, signal);
  } catch (error) {
    if (!deadline.aborted) throw error;
    throw new WaybillError('timeout', `${host}:${port} did not answer within ${options.timeoutMs} ms`, {
      operation: 'connecting',
      host,
      port,
      cause: error,
    });
  }
}

function openSocket(host: string, port: number, addresses: CheckedAddress[], signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connectTcp({ host, port, lookup: pinned(addresses), ...literal(addresses) });
    const settle = () => {
      signal.removeEventListener('abort', onAbort);
      socket.off('connect', onConnect);
      socket.off('error', onError);
    };
    const onConnect = () => {
      settle();
      resolve(socket);
    };
    const onError = (error: Error) => {
      settle();
      socket.destroy();
      reject(unreachable(host, port, error));
    };
    const onAbort = () => {
      settle();
      // A late error of the abandoned attempt has nobody to tell.
      socket.on('error', () => {});
      socket.destroy();
      reject(cancellation(signal));
    };
    socket.on('connect', onConnect);
    socket.on('error', onError);
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
}

/** A lone address is dialled as it is; `net` does not ask `lookup` for literal hosts, and must not read the name itself. */
function literal(addresses: CheckedAddress[]): { host?: string } {
  return addresses.length === 1 ? { host: addresses[0]!.address } : {};
}

function pinned(addresses: CheckedAddress[]): LookupFunction {
  return (_host, options, callback) => {
    if (options.all) callback(null, addresses);
    else callback(null, addresses[0]!.address, addresses[0]!.family);
  };
}

function unreachable(host: string, port: number, error: Error): WaybillError {
  const code = errorCode(error);
  if (code === 'ETIMEDOUT') {
    return new WaybillError('timeout', `${host}:${port} did not answer`, {
      operation: 'connecting',
      host,
      port,
      cause: error,
    });
  }
  const noneLeft = outOfOpenFiles(code);
  if (noneLeft !== undefined) {
    return new WaybillError('unavailable', `${host}:${port} cannot be reached: ${noneLeft}`, {
      operation: 'connecting',
      host,
      port,
      advice: raiseOpenFiles,
      cause: error,
    });
  }
  const why = code === 'ECONNREFUSED' ? 'refuses connections' : `cannot be reached (${code ?? 'no reason given'})`;
  return new WaybillError('unavailable', `${host}:${port} ${why}`, {
    operation: 'connecting',
    host,
    port,
    cause: error,
  });
}

/** Several addresses tried in turn end in an AggregateError, whose own code is only there when all codes agree. */
function errorCode(error: Error): string | undefined {
  const code = (error as NodeJS.ErrnoException).code;
  if (code !== undefined || !(error instanceof AggregateError)) return code;
  return (error.errors.at(-1) as NodeJS.ErrnoException | undefined)?.code;
}

/**
 * Undici behind the same guard. The address is checked and pinned at every new connection, so a name that changes its
 * address between two requests is checked again. `undici.request` follows no redirect unless an interceptor is added.
 */
function createAgent(policy: EgressPolicy, tls: TlsOptions, lendsBody: boolean): Agent {
  return new Agent({
    connections: httpConnectionsPerOrigin,
    allowH2: false,
    connect: (options, callback) => {
      resolveAllowed(options.hostname, policy).then(
        (addresses) => {
          const terms = { ...tls, timeout: httpConnectTimeoutMs, allowH2: false, lookup: pinned(addresses) };
          const pinnedOptions = toPinnedHost(options, addresses);
          if (lendsBody && options.protocol === 'http:') lending(terms, pinnedOptions, callback);
          else buildConnector(terms)(pinnedOptions, callback);
        },
        (error) => callback(error, null),
      );
    },
  });
}

/** As in `literal`; TLS still greets the server by its name (servername), which a literal host never has. */
function toPinnedHost(options: buildConnector.Options, addresses: CheckedAddress[]): buildConnector.Options {
  if (addresses.length !== 1 || options.protocol === 'https:') return options;
  return { ...options, hostname: addresses[0]!.address };
}

type TlsOptions = { ca?: string; cert?: string; key?: string };

/** The words of TLS for an identity, once they are known to be readable. The parser's own message is not passed on: it may quote a key. */
export function tlsOptions({ ca, certificate, key }: TlsIdentity): TlsOptions {
  const options = {
    ...(ca !== undefined && { ca }),
    ...(certificate !== undefined && { cert: certificate }),
    ...(key !== undefined && { key }),
  };
  if (ca !== undefined && !ca.includes('-----BEGIN CERTIFICATE-----'))
    throw new WaybillError('invalid', 'the secret ca holds no certificate in PEM format', { field: 'ca' });
  try {
    createSecureContext(options);
  } catch {
    throw new WaybillError(
      'invalid',
      'the certificates or the key of the endpoint cannot be read, or do not belong together',
      {
        field: 'secrets',
      },
    );
  }
  return options;
}

import type { Connector, Sink, Source } from '../connectors/contract.ts';
import type { OpenedEndpoint } from '../connectors/registry.ts';
import { WaybillError } from '../schema/errors.ts';
import type { Gate } from './transfer/gate.ts';

/** What an endpoint's limits and its breaker want to know of what is done with it. */
export interface EndpointWatch {
  /** Waits until so many bytes may be read or written; undefined: at once. */
  admit(bytes: number, signal: AbortSignal): Promise<void> | undefined;
  /** The endpoint has answered a question. */
  answered(): void;
  /** The endpoint has done what was asked of it: a failure before is over. */
  worked(): void;
}

/**
 * The connector with the endpoint's name in every error: a copy has two ends, and people must know which one failed. What
 * is read and written keeps to the endpoint's bandwidth.
 */
export function withEndpointName(connector: Connector, endpoint: string, watch: EndpointWatch): Connector {
  const named = async <Result>(call: Promise<Result>, path?: string) => {
    const result = await nameErrors(call, endpoint, path);
    watch.answered();
    return result;
  };
  const done = async <Result>(call: Promise<Result>, path?: string) => {
    const result = await named(call, path);
    watch.worked();
    return result;
  };
  const { rename, copy, makeFolder, removeFolder, discard, sweep } = connector;
  return {
    get capabilities() {
      return connector.capabilities;
    },
    check: (signal) => named(connector.check(signal)),
    stat: (path, signal) => named(connector.stat(path, signal), path),
    async *list(folder, options, signal) {
      try {
        for await (const page of connector.list(folder, options, signal)) {
          watch.worked();
          yield page;
        }
      } catch (error) {
        throw nameError(error, endpoint, folder);
      }
    },
    open: async (path, options, signal) =>
      nameSource(await named(connector.open(path, options, signal), path), endpoint, path, watch),
    begin: async (path, options, signal) =>
      nameSink(await named(connector.begin(path, options, signal), path), endpoint, path, watch),
    remove: (path, signal) => done(connector.remove(path, signal), path),
    ...(rename && {
      rename: (from, to, options, signal) => done(rename.call(connector, from, to, options, signal), from),
    }),
    ...(copy && {
      copy: (from, to, options, signal) => done(copy.call(connector, from, to, options, signal), from),
    }),
    ...(discard && { discard: (token, signal) => named(discard.call(connector, token, signal)) }),
    ...(makeFolder && {
      makeFolder: (path, signal) => done(makeFolder.call(connector, path, signal), path),
    }),
    ...(removeFolder && {
      removeFolder: (path, signal) => done(removeFolder.call(connector, path, signal), path),
    }),
    ...(sweep && {
      sweep: (folder, olderThanMs, signal, kept) =>
        named(sweep.call(connector, folder, olderThanMs, signal, kept), folder),
    }),
    close: () => connector.close(),
  };
}

/** As `withEndpointName`, for an endpoint that holds no files: whatever is asked of it waits for its turn at the gate. */
export function withEndpointNameOnService(
  opened: Exclude<OpenedEndpoint, { serves: 'files' }>,
  name: string,
  gate: Gate,
): OpenedEndpoint {
  const { endpoint } = opened;
  const inTurn = async <Result>(signal: AbortSignal, path: string | undefined, ask: () => Promise<Result>) => {
    const leave = await gate.enter(signal);
    try {
      return await nameErrors(ask(), name, path);
    } finally {
      leave();
    }
  };
  const reachable = {
    check: (signal: AbortSignal) => nameErrors(endpoint.check(signal), name, undefined),
    close: () => endpoint.close(),
  };
  if (opened.serves === 'requests') {
    const { endpoint: requester } = opened;
    return {
      serves: 'requests',
      endpoint: {
        ...reachable,
        request: (request, signal) => inTurn(signal, request.path, () => requester.request(request, signal)),
      },
    };
  }
  const { endpoint: notifier } = opened;
  return {
    serves: 'messages',
    endpoint: {
      ...reachable,
      send: (message, signal) => inTurn(signal, undefined, () => notifier.send(message, signal)),
    },
  };
}

function nameSource(source: Source, endpoint: string, path: string, watch: EndpointWatch): Source {
  const read: Source['read'] = async (buffer, at, signal) => {
    await watch.admit(buffer.length, signal);
    const bytes = await source.read(buffer, at, signal);
    watch.worked();
    return bytes;
  };
  return {
    size: source.size,
    version: source.version,
    read: (buffer, at, signal) => nameErrors(read(buffer, at, signal), endpoint, path),
    close: () => source.close(),
  };
}

function nameSink(sink: Sink, endpoint: string, path: string, watch: EndpointWatch): Sink {
  const { holds } = sink;
  const write: Sink['write'] = async (bytes, at, signal) => {
    await watch.admit(bytes.length, signal);
    await sink.write(bytes, at, signal);
    watch.worked();
  };
  const commit: Sink['commit'] = async (signal) => {
    const entry = await sink.commit(signal);
    watch.worked();
    return entry;
  };
  return {
    temporaryPath: sink.temporaryPath,
    write: (bytes, at, signal) => nameErrors(write(bytes, at, signal), endpoint, path),
    token: sink.token,
    received: sink.received,
    ...(holds && { holds: (bytes, at, signal) => nameErrors(holds.call(sink, bytes, at, signal), endpoint, path) }),
    seal: (sent, signal) => nameErrors(sink.seal(sent, signal), endpoint, path),
    commit: (signal) => nameErrors(commit(signal), endpoint, path),
    abort: () => sink.abort(),
    leave: () => sink.leave(),
  };
}

async function nameErrors<Result>(call: Promise<Result>, endpoint: string, path: string | undefined): Promise<Result> {
  try {
    return await call;
  } catch (error) {
    throw nameError(error, endpoint, path);
  }
}

/** The error with endpoint and path, where it does not name an endpoint itself. */
export function nameError(error: unknown, endpoint: string, path: string | undefined): unknown {
  if (!(error instanceof WaybillError) || error.context.endpoint !== undefined) return error;
  const facts = { ...(path !== undefined && { path }), ...error.context, endpoint };
  return new WaybillError(error.kind, error.message, {
    ...facts,
    ...(error.cause !== undefined && { cause: error.cause }),
  });
}

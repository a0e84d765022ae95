import { type ErrorKind, WaybillError } from '../schema/errors.ts';
import { outOfOpenFiles, raiseOpenFiles } from '../schema/openFiles.ts';

/** SQLSTATE, or its class of two letters, to kind. https://www.postgresql.org/docs/current/errcodes-appendix.html */
const kindOfState: Record<string, ErrorKind> = {
  '08': 'unavailable', // connection exception
  '57P01': 'unavailable', // admin shutdown
  '57P02': 'unavailable', // crash shutdown
  '57P03': 'unavailable', // cannot connect now
  '57P05': 'unavailable', // idle session time-out
  '53300': 'unavailable', // too many connections
  '53': 'unavailable', // out of resources
  '53100': 'disk-full',
  '58': 'unavailable', // system error
  '25006': 'unavailable', // read-only: a standby, or a primary that is being replaced
  '57014': 'timeout', // statement time-out
  '55P03': 'timeout', // lock time-out
  '25P03': 'timeout', // idle in transaction
  '25P04': 'timeout', // transaction time-out
  '28': 'unauthenticated',
  '3D000': 'not-found', // no such database
  '42501': 'forbidden', // insufficient privilege, and row-level security
  '40': 'conflict', // serialization failure, deadlock
  '23505': 'exists',
  '23P01': 'exists', // exclusion violation
  '23503': 'conflict', // foreign key: what it names is not there, or still used
  '23001': 'conflict', // restrict
  '23': 'invalid', // not null, check
  '22': 'invalid', // data exception
  '54': 'invalid', // a limit of PostgreSQL's own, as an index row that is too long
};

/** Character not in repertoire; untranslatable character. */
const unstorable = new Set(['22021', '22P05']);

const connectionCodes = new Set([
  ...['ECONNREFUSED', 'ECONNRESET', 'ECONNABORTED', 'EPIPE', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH'],
  ...['EAI_AGAIN', 'ENOTFOUND', 'EADDRNOTAVAIL', 'ENOENT'],
]);

/** What pg says, without a code, when a connection dies under it. */
const lostConnection =
  /Connection terminated|connection timeout|timeout exceeded when trying to connect|not queryable|Client was closed|Cannot use a pool after/i;

/** Prisma's own codes: https://www.prisma.io/docs/orm/reference/error-reference */
const kindOfPrismaCode: Record<string, ErrorKind> = {
  P1000: 'unauthenticated',
  P1001: 'unavailable',
  P1002: 'unavailable',
  P1008: 'timeout',
  P1017: 'unavailable',
  P2002: 'exists',
  P2003: 'conflict',
  P2014: 'conflict',
  P2024: 'unavailable',
  P2025: 'not-found',
  P2028: 'timeout',
  P2034: 'conflict',
  P2037: 'unavailable',
};

/**
 * The error as a WaybillError when it is the database's; any other error, and a WaybillError, comes back as it is.
 * The message names table and constraint, never a value: behind row-level security PostgreSQL itself
 * withholds the row in `detail`, so that the cause can be logged.
 */
export function databaseError(error: unknown, operation: string): unknown {
  if (error instanceof WaybillError || !(error instanceof Error)) return error;
  const facts = readFacts(error);
  const kind = kindOf(facts);
  if (!kind) return error;
  const { code, state, table, constraint } = facts;
  const noneLeft = outOfOpenFiles(code);
  const where = [table && `table ${table}`, constraint && `constraint ${constraint}`].filter(Boolean).join(', ');
  const message =
    kind === 'unavailable'
      ? `the database cannot be reached${noneLeft === undefined ? '' : `: ${noneLeft}`}`
      : unstorable.has(state ?? '')
        ? 'a text holds a character that cannot be stored, such as NUL'
        : `the database refused${where && ` (${where})`}`;
  return new WaybillError(kind, message, {
    operation,
    ...(noneLeft !== undefined && { advice: raiseOpenFiles }),
    ...(state && { state }),
    ...(table && { table }),
    ...(constraint && { constraint }),
    cause: error,
  });
}

interface Facts {
  code: string | undefined;
  state: string | undefined;
  message: string;
  table: string | undefined;
  constraint: string | undefined;
}

/** pg throws the server's fields on the error; Prisma keeps them in `meta.driverAdapterError.cause` or in `cause`. */
function readFacts(error: Error): Facts {
  const own = error as {
    code?: unknown;
    table?: unknown;
    constraint?: unknown;
    meta?: { driverAdapterError?: { cause?: object } };
  };
  const adapter = (own.meta?.driverAdapterError?.cause ?? error.cause) as
    | { originalCode?: string; table?: string; constraint?: { index?: string }; kind?: string }
    | undefined;
  const code = typeof own.code === 'string' ? own.code : undefined;
  const state =
    code && /^[0-9A-Z]{5}$/.test(code) && !/^P\d{4}$/.test(code) && !/^E[A-Z]{4}$/.test(code) ? code : undefined;
  return {
    code: code ?? (adapter?.kind === 'DatabaseNotReachable' ? 'P1001' : undefined),
    state: state ?? adapter?.originalCode,
    message: error.message,
    table: typeof own.table === 'string' ? own.table : adapter?.table,
    constraint: typeof own.constraint === 'string' ? own.constraint : adapter?.constraint?.index,
  };
}

function kindOf({ code, state, message }: Facts): ErrorKind | undefined {
  const byState = state && (kindOfState[state] ?? kindOfState[state.slice(0, 2)]);
  if (byState) return byState;
  if (code && (connectionCodes.has(code) || outOfOpenFiles(code) !== undefined)) return 'unavailable';
  if (code && kindOfPrismaCode[code]) return kindOfPrismaCode[code];
  return lostConnection.test(message) ? 'unavailable' : undefined;
}

/**
 * A small process between the supervisor and a server that cannot watch its parent (PostgreSQL, Temporal, the demo's partner): it starts the
 * server, tells the supervisor where it is, and stops it when told to, or when the supervisor's end of the channel closes,
 * however the supervisor ended. It ends itself when the server does.
 *
 * Arguments: the kind, and its options as JSON.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { asWaybillError } from '../../schema/errors.ts';
import type { ChildMessage } from '../supervisor/child.ts';
import { startPostgres } from './postgres.ts';
import { isRunning } from './processes.ts';
import { startTemporal, type TemporalOptions } from './temporal.ts';

type GuardedServer = 'postgres' | 'temporal' | 'partner';
interface PostgresGuardOptions {
  stateFolder: string;
  port: number;
}
const watchEveryMs = 200;

interface Guarded {
  facts: Record<string, unknown>;
  ended: Promise<void>;
  stop(): Promise<void>;
}

const [kind, options] = process.argv.slice(2) as [GuardedServer, string];
process.title = `waybill ${kind}`;
let leaving = false;
let server: Guarded | undefined;
process.on('SIGTERM', () => void leave());
// The supervisor decides about Ctrl-C; a guard that follows it too would end in the wrong order.
process.on('SIGINT', () => undefined);
process.on('disconnect', () => void leave());

try {
  server = await start();
  if (leaving) await end();
  tell({ ready: server.facts });
  await server.ended;
  if (!leaving) process.exit(1);
} catch (error) {
  const { kind: errorKind, message } = asWaybillError(error);
  tell({ failed: { kind: errorKind, message } });
  process.exitCode = 1;
  process.disconnect?.();
}

// Nobody listens any more when the supervisor was killed.
function tell(message: ChildMessage): void {
  if (process.connected) process.send?.(message);
}

async function start(): Promise<Guarded> {
  if (kind === 'temporal') {
    const temporal = await startTemporal(JSON.parse(options) as TemporalOptions);
    const { address, uiUrl, pid } = temporal;
    return { facts: { address, uiUrl, pid }, ended: temporal.ended, stop: temporal.stop };
  }
  if (kind === 'partner') {
    const { startPartner } = await import('../demo/partner.ts');
    const { stop, ...facts } = await startPartner(JSON.parse(options) as { folder: string });
    return { facts, ended: facts.pid === null ? new Promise(() => undefined) : untilGone(facts.pid), stop };
  }
  const onProgress = (message: string): void => tell({ progress: message });
  const postgres = await startPostgres({ ...(JSON.parse(options) as PostgresGuardOptions), onProgress });
  const { stop, ...facts } = postgres;
  return { facts, ended: untilGone(postgres.pid), stop };
}

// A PostgreSQL that was taken over is not our child: nothing tells of its end.
async function untilGone(pid: number): Promise<void> {
  while (isRunning(pid)) await delay(watchEveryMs);
}

async function leave(): Promise<void> {
  if (leaving) return;
  leaving = true;
  if (server !== undefined) await end();
}

async function end(): Promise<never> {
  await server?.stop();
  process.exit(0);
}

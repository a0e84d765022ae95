import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { findTemporal } from '../../cli/embedded/findTemporal.ts';
import { isRunning, processCommand } from '../../cli/embedded/processes.ts';
import { startTemporal as startEmbedded } from '../../cli/embedded/temporal.ts';
import { readCommandEnvironment } from '../../cli/settings.ts';

export interface TestTemporal {
  /** host:port of gRPC */
  address: string;
  uiUrl: string;
  namespace: string;
  pid: number;
  /** Stops the server and removes its data. Safe twice. */
  stop(): Promise<void>;
}

const folderPrefix = 'waybill-test-temporal-';

/** Temporal's development server as `waybill dev` starts it, on free ports, with a folder of its own. */
export async function startTemporal(): Promise<TestTemporal> {
  await stopForgotten();
  const misses: string[] = [];
  const { binary } = await findTemporal(readCommandEnvironment(process.env), (miss) => misses.push(miss));
  const folder = await mkdtemp(path.join(tmpdir(), `${folderPrefix}${process.pid}-`));
  const server = await startEmbedded({ binary, folder, host: '127.0.0.1', port: 0, uiPort: 0, codec: null });
  return {
    address: server.address,
    uiUrl: server.uiUrl,
    namespace: 'default',
    pid: server.pid,
    stop: async () => {
      await server.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** A test run that was killed leaves its server behind; the next one finds it by the folder that names its owner. */
async function stopForgotten(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    const owner = name.startsWith(folderPrefix) ? Number(name.slice(folderPrefix.length).split('-')[0]) : Number.NaN;
    if (Number.isNaN(owner) || isRunning(owner)) continue;
    const folder = path.join(tmpdir(), name);
    const pid = Number(await readFile(path.join(folder, 'temporal.pid'), 'utf8').catch(() => ''));
    if (pid > 0 && (await processCommand(pid)).includes(folder)) process.kill(pid, 'SIGKILL');
    await rm(folder, { recursive: true, force: true });
  }
}

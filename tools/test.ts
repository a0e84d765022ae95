/**
 * npm test [-- VITEST ARGUMENT...]
 *
 * Gets the real servers that the tests use (Temporal, sshd, rclone, versitygw; PostgreSQL is an npm package), then runs vitest. With
 * `--project unit` nothing is needed and nothing is got.
 */

import { findTemporal } from '../cli/embedded/findTemporal.ts';
import { readCommandEnvironment } from '../cli/settings.ts';
import { ensureRclone } from '../test/servers/rclone.ts';
import { ensureSshd } from '../test/servers/sshd.ts';
import { ensureVersitygw } from '../test/servers/versitygw.ts';
import { runScript, scripts } from './command.ts';

const vitestArguments = process.argv.slice(2);
const unitOnly = vitestArguments.join(' ').includes('--project unit');
const say = (message: string): void => void process.stderr.write(`waybill: ${message}\n`);

try {
  process.exitCode = await runScript(scripts.vitest, ['run', ...vitestArguments], {
    ...process.env,
    ...(unitOnly ? {} : await provideServers()),
  });
} catch (error) {
  say(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}

async function provideServers(): Promise<Record<string, string>> {
  await ensureSshd();
  say(`rclone: ${await ensureRclone()}`);
  say(`versitygw: ${await ensureVersitygw()}`);
  // The tests start their own on free ports: a cluster of the developer must not get their runs.
  const environment = { ...readCommandEnvironment(process.env), temporalAddress: null };
  const { binary, origin } = await findTemporal(environment, say);
  say(`Temporal: ${binary} (${origin})`);
  return { WAYBILL_TEMPORAL_BINARY: binary };
}

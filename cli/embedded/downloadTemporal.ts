/**
 * A process of its own: downloads the Temporal command line as the SDK does, into the folder of the first argument, in
 * the version of the second, and prints its path. Ends with 1 and one line on stderr when that fails.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Runtime } from '@temporalio/worker';

const [folder, version] = process.argv.slice(2) as [string, string];
try {
  const runtime = Runtime.instance();
  const server = await runtime.createEphemeralServer({
    type: 'dev-server',
    exe: {
      type: 'cached-download',
      downloadDir: folder,
      version: `v${version}`,
      ttl: 0,
      sdkName: 'sdk-typescript',
      sdkVersion: '1.24.0',
    },
    namespace: 'default',
    ip: '127.0.0.1',
    port: null,
    uiPort: null,
    dbFilename: null,
    ui: false,
    log: { format: 'json', level: 'error' },
    extraArgs: [],
  });
  await runtime.shutdownEphemeralServer(server);
  const file = readdirSync(folder).find((name) => !name.endsWith('.downloading'));
  if (file === undefined) throw new Error('nothing was downloaded');
  process.stdout.write(`${join(folder, file)}\n`);
  process.exit(0);
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message.replaceAll('\n', ' ') : String(error)}\n`);
  process.exit(1);
}

// node tools/bootstrap.mjs [--node VERSION] SCRIPT [ARGUMENT]...
//
// Makes a fresh clone ready (Node, packages, the database client) and runs SCRIPT, a path below the clone, under the right
// Node, in the caller's folder. Plain JavaScript without dependencies that parses on Node 18: it is the first thing that runs.
import { spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { provideNode } from './bootstrap/node.mjs';
import { providePackages } from './bootstrap/packages.mjs';
import { BootstrapError } from './bootstrap/progress.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const parentCheckMs = 1000;
const signalNumbers = { SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGKILL: 9, SIGTERM: 15 };

try {
  process.exitCode = await bootstrap(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof BootstrapError)) throw error;
  process.stderr.write(`waybill: ${error.message}\n`);
  process.exitCode = 1;
}

async function bootstrap(words) {
  const wantedNode = words[0] === '--node' ? words.splice(0, 2)[1] : undefined;
  const script = words[0];
  if (script === undefined)
    throw new BootstrapError('usage: node tools/bootstrap.mjs [--node VERSION] SCRIPT [ARGUMENT]...');

  const cacheFolder = process.env.WAYBILL_CACHE || join(homedir(), '.cache', 'waybill');
  mkdirSync(cacheFolder, { recursive: true });
  const node = await provideNode(cacheFolder, wantedNode);
  const environment = environmentFor(node);
  await providePackages(root, cacheFolder, node, environment);
  return await run(node.binary, [join(root, script), ...words.slice(1)], environment);
}

function environmentFor(node) {
  return {
    ...process.env,
    PATH: `${dirname(node.binary)}${delimiter}${process.env.PATH ?? ''}`,
    ...(node.home === null ? {} : { npm_config_nodedir: node.home }),
    // `prisma generate` needs no engine, but downloads one unless this names a file that exists.
    PRISMA_SCHEMA_ENGINE_BINARY: process.env.PRISMA_SCHEMA_ENGINE_BINARY || node.binary,
  };
}

/** Runs it with our terminal, passes signals on, and gives its exit code. The channel tells it when we were killed. */
function run(binary, commandArguments, environment) {
  return new Promise((resolve, reject) => {
    const child = spawn(binary, commandArguments, {
      env: environment,
      stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
    });
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
    stopWithNpm(child);
    child.on('error', reject);
    child.on('exit', (code, signal) => resolve(code ?? 128 + (signalNumbers[signal] ?? 0)));
  });
}

// `npm run` passes SIGTERM on, but nobody tells us when it was killed.
function stopWithNpm(child) {
  if (process.env.npm_lifecycle_event === undefined) return;
  const parent = process.ppid;
  setInterval(() => {
    if (process.ppid !== parent) child.kill('SIGTERM');
  }, parentCheckMs).unref();
}

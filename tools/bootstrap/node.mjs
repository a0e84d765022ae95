// Which Node runs the project: the machine's when it is new enough, else the pinned one from the npm registry.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { unpack } from './archive.mjs';
import { withLock } from './lock.mjs';
import { BootstrapError, runQuietly, say } from './progress.mjs';

const pinnedNode = '22.23.3';
const packages = JSON.parse(readFileSync(new URL('nodePackages.json', import.meta.url), 'utf8'));

/**
 * The Node to use, `{ binary, home }`; `home` has bin/ and include/ (for native add-ons), or is null for the machine's own.
 * With `wanted`, exactly that version. Gets it into the cache when it is not there. Throws BootstrapError.
 */
export async function provideNode(cacheFolder, wanted) {
  if (wanted === undefined ? isSupported(process.versions.node) : process.versions.node === wanted) {
    return { binary: process.execPath, home: homeWithHeaders(process.execPath) };
  }
  const version = wanted ?? pinnedNode;
  const home = join(cacheFolder, `node-${version}`);
  const binary = join(home, 'bin', 'node');
  if (!existsSync(binary)) {
    await withLock(join(cacheFolder, `node-${version}.lock`), async () => {
      if (!existsSync(binary)) await download(version, home, cacheFolder);
    });
  }
  return { binary, home };
}

/** Node 22.19 and later in 22, and 24: what the suite runs on. */
export function isSupported(version) {
  const [major, minor] = version.split('.').map(Number);
  return (major === 22 && minor >= 19) || major === 24;
}

// A native add-on is built against the headers beside the binary; npm's own default would download them.
function homeWithHeaders(binary) {
  const home = dirname(dirname(binary));
  return existsSync(join(home, 'include', 'node', 'node.h')) ? home : null;
}

async function download(version, home, cacheFolder) {
  const name = `node-${process.platform}-${process.arch}`;
  const integrity = packages[version]?.[name];
  if (integrity === undefined) {
    throw new BootstrapError(
      `this machine has Node ${process.versions.node}; Waybill needs 22.19 or later in 22, or 24, and Node ${version} cannot be had from npm for ${process.platform}-${process.arch}. Install it from https://nodejs.org.`,
    );
  }
  say(
    `this machine has Node ${process.versions.node}; getting Node ${version} (npm package ${name}) into ${home}, once`,
  );
  const work = mkdtempSync(join(cacheFolder, 'node-download-'));
  try {
    await runQuietly(
      'npm pack',
      'npm',
      ['pack', `${name}@${version}`, '--pack-destination', work, '--json', '--silent'],
      { cwd: work },
    );
    const archive = readFileSync(join(work, `${name}-${version}.tgz`));
    const actual = `sha512-${createHash('sha512').update(archive).digest('base64')}`;
    if (actual !== integrity)
      throw new BootstrapError(
        `the registry gave another ${name}@${version} than the pinned one: ${actual} instead of ${integrity}`,
      );
    const unpacked = join(work, 'unpacked');
    mkdirSync(unpacked);
    unpack(archive, unpacked);
    rmSync(home, { recursive: true, force: true });
    renameSync(unpacked, home);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

// Brings node_modules and the generated database client in line with what is committed.
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { withLock } from './lock.mjs';
import { BootstrapError, runQuietly, say } from './progress.mjs';

/**
 * Runs `npm ci` when node_modules is absent or package-lock.json changed, and `prisma generate` when the client is older
 * than the schema. Does nothing, quickly, when both are fresh. Throws BootstrapError.
 */
export async function providePackages(root, cacheFolder, node, environment) {
  if (isInstalled(root) && isGenerated(root)) return;
  const lockName = createHash('sha256').update(root).digest('hex').slice(0, 16);
  await withLock(join(cacheFolder, 'locks', lockName), async () => {
    if (!isInstalled(root)) await install(root, environment);
    if (!isGenerated(root)) await generate(root, node, environment);
  });
}

const lockStamp = (root) => join(root, 'node_modules', '.waybill-lock');
const schemaStamp = (root) => join(root, 'prisma', 'generated', '.waybill-schema');
const lockHash = (root) => hashOf(join(root, 'package-lock.json'));
const schemaHash = (root) =>
  hashOf(join(root, 'prisma', 'schema.prisma'), join(root, 'node_modules', 'prisma', 'package.json'));

function isInstalled(root) {
  if (readText(lockStamp(root)) === lockHash(root)) return true;
  if (!sameAsInstalled(root)) return false;
  // `npm install` was run by hand: nothing is missing.
  writeFileSync(lockStamp(root), lockHash(root));
  return true;
}

// npm writes node_modules/.package-lock.json as the last thing of a complete install.
function sameAsInstalled(root) {
  const installedText = readText(join(root, 'node_modules', '.package-lock.json'));
  if (installedText === undefined) return false;
  const installed = JSON.parse(installedText).packages;
  const wanted = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages;
  return Object.entries(wanted).every(([path, { version, integrity, optional }]) => {
    if (path === '') return true;
    const found = installed[path];
    return found === undefined ? optional === true : found.version === version && found.integrity === integrity;
  });
}

async function install(root, environment) {
  say(
    existsSync(join(root, 'node_modules'))
      ? 'package-lock.json has changed: npm ci'
      : 'installing packages: npm ci, once',
  );
  const options = { cwd: root, env: environment };
  const quiet = ['--no-audit', '--no-fund', '--loglevel=error'];
  try {
    await runQuietly('npm ci', 'npm', ['ci', ...quiet], options);
  } catch (error) {
    if (!lacksOtherPlatforms(error)) throw error;
    // A lock file that was written behind a registry mirror lacks the builds of platforms that the mirror does not carry;
    // `npm ci` refuses it everywhere. `npm install` takes the same versions with the same integrity, and --no-save leaves the file alone.
    say('the lock file lacks optional builds for other platforms: npm install --no-save');
    await runQuietly('npm install', 'npm', ['install', '--no-save', ...quiet], options);
  }
  writeFileSync(lockStamp(root), lockHash(root));
}

function lacksOtherPlatforms(error) {
  if (!(error instanceof BootstrapError) || !error.message.includes('EUSAGE')) return false;
  const complaints = error.message.match(/(?:Missing|Invalid): .*/g) ?? [];
  return (
    complaints.length > 0 &&
    complaints.every((line) =>
      /^Missing: .*(android|darwin|freebsd|linux|openharmony|sunos|wasm32|win32|aix|netbsd|openbsd).* from lock file$/.test(
        line,
      ),
    )
  );
}

function isGenerated(root) {
  return readText(schemaStamp(root)) === schemaHash(root);
}

async function generate(root, node, environment) {
  await runQuietly(
    'prisma generate',
    node.binary,
    [join(root, 'node_modules', 'prisma', 'build', 'index.js'), 'generate'],
    {
      cwd: root,
      env: environment,
    },
  );
  writeFileSync(schemaStamp(root), schemaHash(root));
}

function hashOf(...paths) {
  const hash = createHash('sha256');
  for (const path of paths) hash.update(readText(path) ?? 'absent').update('\0');
  return hash.digest('hex');
}

function readText(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
    throw error;
  }
}

import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { type Browser, chromium } from 'playwright-core';

const run = promisify(execFile);
const installTimeoutMs = 300_000;
const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
const applicationsOfMac = ['Google Chrome', 'Chromium'].map(
  (name) => `/Applications/${name}.app/Contents/MacOS/${name}`,
);

/** The machine's own Chromium, without a window and with a profile of its own that goes with it. Installs it first where it may. */
export async function startBrowser(): Promise<Browser> {
  return chromium.launch({
    executablePath: await ensureChromium(),
    headless: true,
    // The sandbox of Chromium refuses root, and most containers refuse it.
    chromiumSandbox: false,
    args: ['--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
}

/** Where Chromium is: with apt when root on Debian, else throws one line that says what to install. */
async function ensureChromium(): Promise<string> {
  const present = findChromium();
  if (present !== undefined) return present;
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) {
    throw new Error('the browser tests need Chromium: install chromium (Debian: sudo apt-get install chromium)');
  }
  const options = {
    timeout: installTimeoutMs,
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', DEBIAN_FRONTEND: 'noninteractive' },
  };
  const install = () => run('apt-get', ['install', '-y', '--no-install-recommends', 'chromium'], options);
  // The package lists of a fresh machine may be absent or old; they are fetched only then.
  await install().catch(async () => {
    await run('apt-get', ['update'], options);
    await install();
  });
  return findChromium() ?? '/usr/bin/chromium';
}

function findChromium(): string | undefined {
  const folders = (process.env.PATH ?? '').split(path.delimiter).filter((folder) => folder !== '');
  const places = folders.flatMap((folder) => names.map((name) => path.join(folder, name)));
  return [...places, ...applicationsOfMac].find((place) => existsSync(place));
}

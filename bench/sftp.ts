import { execFile } from 'node:child_process';
import { randomFillSync } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Connector } from '../connectors/contract.ts';
import { openSftp } from '../connectors/sftp/connector.ts';
import { createDialler } from '../network/dialler.ts';
import { type Sshd, startSshd } from '../test/servers/sshd.ts';
import { type Benchmark, inFlight, type Measurement, median, timed } from './benchmark.ts';

const run = promisify(execFile);
const never = new AbortController().signal;
const smallBytes = 10 * 1024;
const log = { debug() {}, info() {}, warn() {}, error() {} };

/** Same server, same file, over loopback; rounds are interleaved, medians are told. */
export const sftp: Benchmark = {
  name: 'sftp',
  summary: "the sftp connector beside OpenSSH's sftp: one file up and down",
  async measure({ quick, say, interrupted }) {
    const folder = await mkdtemp(join(tmpdir(), 'waybill-bench-'));
    const server = await startSshd({ root: folder });
    const dialler = createDialler({ loopback: true, allow: [] });
    const { host, port, username, privateKey, hostKeys } = server;
    const settings = { host, port, username, root: folder, hostKeys, connections: 2, caseSensitive: true };
    const connector = openSftp(settings, { privateKey }, { dialler, localRoots: [], log });
    try {
      const content = randomFillSync(Buffer.allocUnsafe((quick ? 64 : 256) * 1024 * 1024));
      await writeFile(join(folder, 'source.bin'), content);
      await mkdir(join(folder, 'small'));
      const smallFiles = quick ? 500 : 2_000;
      for (let index = 0; index < smallFiles; index++)
        await writeFile(join(folder, 'small', `${index}.bin`), content.subarray(0, smallBytes));
      await writeFile(join(folder, 'key'), privateKey, { mode: 0o600 });
      await connector.check(never);
      return await Promise.race([
        compare({ connector, server, folder, content, smallFiles, rounds: quick ? 3 : 5, say }),
        interrupted,
      ]);
    } finally {
      await connector.close();
      await dialler.close();
      await server.stop();
      await rm(folder, { recursive: true, force: true });
    }
  },
};

interface Bout {
  connector: Connector;
  server: Sshd;
  folder: string;
  content: Buffer;
  smallFiles: number;
  rounds: number;
  say(message: string): void;
}

async function compare(bout: Bout): Promise<Measurement[]> {
  const { connector, content, smallFiles, folder, rounds, say } = bout;
  const contestants: Record<string, () => Promise<unknown>> = {
    'ours up': () => upload(connector, content),
    'sftp up': () => plainSftp(bout, `put ${join(folder, 'source.bin')} ${join(folder, 'target.bin')}`),
    'ours down': () => download(connector, content.length),
    'sftp down': () => plainSftp(bout, `get ${join(folder, 'source.bin')} ${join(folder, 'got.bin')}`),
    'ours small': () => uploadSmall(connector, content.subarray(0, smallBytes), smallFiles),
    'sftp small': () => plainSftp(bout, `put -f -r ${join(folder, 'small')} ${join(folder, 'small-by-sftp')}`),
  };
  const times: Record<string, number[]> = {};
  for (let round = 1; round <= rounds; round++) {
    say(`round ${round} of ${rounds}`);
    for (const [name, work] of Object.entries(contestants)) {
      times[name] ??= [];
      times[name].push(await timed(work));
    }
  }
  const speed = (name: string) => content.length / 1e6 / (median(times[name]!) / 1000);
  const filesPerSecond = (name: string) => smallFiles / (median(times[name]!) / 1000);
  return [
    { name: 'sftp.up', ours: speed('ours up'), peer: speed('sftp up'), unit: 'MB/s' },
    { name: 'sftp.down', ours: speed('ours down'), peer: speed('sftp down'), unit: 'MB/s' },
    { name: 'sftp.small', ours: filesPerSecond('ours small'), peer: filesPerSecond('sftp small'), unit: 'files/s' },
  ];
}

async function upload(target: Connector, content: Buffer): Promise<void> {
  const { blockBytes, writesInFlight } = target.capabilities;
  const options = { size: content.length, deliveryId: 'bench', replace: true, modified: null };
  const sink = await target.begin('/target.bin', options, never);
  await inFlight(writesInFlight, content.length, blockBytes, (at) =>
    sink.write(content.subarray(at, at + blockBytes), at, never),
  );
  await sink.seal({ sha256: '' }, never);
  await sink.commit(never);
}

async function download(source: Connector, bytes: number): Promise<void> {
  const { blockBytes, readsInFlight } = source.capabilities;
  const file = await source.open('/source.bin', {}, never);
  const free = Array.from({ length: readsInFlight }, () => Buffer.allocUnsafe(blockBytes));
  await inFlight(readsInFlight, bytes, blockBytes, async (at) => {
    const buffer = free.pop()!;
    await file.read(buffer, at, never);
    free.push(buffer);
  });
  await file.close();
}

async function uploadSmall(target: Connector, content: Buffer, files: number): Promise<void> {
  await inFlight(target.capabilities.filesInFlight, files, 1, async (index) => {
    const options = { size: content.length, deliveryId: `small-${index}`, replace: true, modified: null };
    const sink = await target.begin(`/small-by-us/${index}.bin`, options, never);
    await sink.write(content, 0, never);
    await sink.seal({ sha256: '' }, never);
    await sink.commit(never);
  });
}

async function plainSftp({ server, folder }: Bout, command: string): Promise<void> {
  const batch = join(folder, 'batch');
  await writeFile(batch, `${command}\n`);
  const options = [
    'StrictHostKeyChecking=no',
    'UserKnownHostsFile=/dev/null',
    'LogLevel=ERROR',
    'Ciphers=aes128-gcm@openssh.com',
  ];
  const named = options.flatMap((option) => ['-o', option]);
  const key = join(folder, 'key');
  await run('sftp', [
    '-q',
    '-b',
    batch,
    '-i',
    key,
    '-P',
    `${server.port}`,
    ...named,
    `${server.username}@${server.host}`,
  ]);
}

/**
 * The sftp connector beside OpenSSH's own `sftp`, same server, same file, over loopback: `node bench/sftp.ts [MiB] [rounds]`.
 * Runs are interleaved and medians taken; what counts is the ratio, since machines differ.
 */
import { execFile } from 'node:child_process';
import { randomFillSync } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Connector } from '../connectors/contract.ts';
import { openSftp } from '../connectors/sftp/connector.ts';
import { createDialler } from '../network/dialler.ts';
import { type Sshd, startSshd } from '../test/servers/sshd.ts';

const run = promisify(execFile);
const never = new AbortController().signal;
const bytes = Number(process.argv[2] ?? 256) * 1024 * 1024;
const rounds = Number(process.argv[3] ?? 5);
const smallFiles = 2000;
const smallBytes = 10 * 1024;

const folder = await mkdtemp(join(tmpdir(), 'waybill-bench-'));
const server = await startSshd({ root: folder });
const dialler = createDialler({ loopback: true, allow: [] });
const log = { debug() {}, info() {}, warn() {}, error() {} };
const { host, port, username, privateKey, hostKeys } = server;
const settings = { host, port, username, root: folder, hostKeys, connections: 2 };
const connector = openSftp(settings, { privateKey }, { dialler, localRoots: [], log });
try {
  const content = randomFillSync(Buffer.allocUnsafe(bytes));
  await writeFile(join(folder, 'source.bin'), content);
  await writeFile(join(folder, 'key'), privateKey, { mode: 0o600 });
  await connector.check(never);
  const times = Object.fromEntries(Object.keys(contestants(content)).map((name) => [name, [] as number[]]));
  for (let round = 0; round < rounds; round++) {
    for (const [name, work] of Object.entries(contestants(content))) {
      const startedAt = performance.now();
      await work();
      times[name]!.push(performance.now() - startedAt);
    }
  }
  report(times);
} finally {
  await connector.close();
  await dialler.close();
  await server.stop();
  await rm(folder, { recursive: true, force: true });
}

function contestants(content: Buffer): Record<string, () => Promise<unknown>> {
  return {
    'waybill up': () => upload(connector, content),
    'sftp up': () => plainSftp(server, `put ${join(folder, 'source.bin')} ${join(folder, 'target.bin')}`),
    'waybill down': () => download(connector),
    'sftp down': () => plainSftp(server, `get ${join(folder, 'source.bin')} ${join(folder, 'got.bin')}`),
    'waybill small files': () => uploadSmall(connector, content.subarray(0, smallBytes)),
  };
}

async function upload(target: Connector, content: Buffer): Promise<void> {
  const { blockBytes, writesInFlight } = target.capabilities;
  const sink = await target.begin(
    '/target.bin',
    { size: bytes, deliveryId: 'bench', replace: true, modified: null },
    never,
  );
  await inFlight(writesInFlight, bytes, blockBytes, (at) =>
    sink.write(content.subarray(at, at + blockBytes), at, never),
  );
  await sink.seal(never);
  await sink.commit(never);
}

async function download(source: Connector): Promise<void> {
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

async function uploadSmall(target: Connector, content: Buffer): Promise<void> {
  await inFlight(target.capabilities.filesInFlight, smallFiles, 1, async (index) => {
    const options = { size: content.length, deliveryId: `small-${index}`, replace: true, modified: null };
    const sink = await target.begin(`/small/${index}.bin`, options, never);
    await sink.write(content, 0, never);
    await sink.seal(never);
    await sink.commit(never);
  });
}

async function inFlight(
  limit: number,
  end: number,
  step: number,
  work: (at: number) => Promise<unknown>,
): Promise<void> {
  let next = 0;
  const worker = async () => {
    for (let at = next; at < end; at = next) {
      next += step;
      await work(at);
    }
  };
  await Promise.all(Array.from({ length: limit }, worker));
}

async function plainSftp(peer: Sshd, command: string): Promise<void> {
  const batch = join(folder, 'batch');
  await writeFile(batch, `${command}\n`);
  const options = [
    'StrictHostKeyChecking=no',
    'UserKnownHostsFile=/dev/null',
    'LogLevel=ERROR',
    'Ciphers=aes128-gcm@openssh.com',
  ];
  await run('sftp', [
    '-q',
    '-b',
    batch,
    '-i',
    join(folder, 'key'),
    '-P',
    String(peer.port),
    ...options.flatMap((option) => ['-o', option]),
    `${peer.username}@${peer.host}`,
  ]);
}

function report(times: Record<string, number[]>): void {
  const median = (name: string) =>
    times[name]!.toSorted((one, other) => one - other)[Math.floor(times[name]!.length / 2)]!;
  const speed = (name: string) => bytes / 1e6 / (median(name) / 1000);
  for (const way of ['up', 'down']) {
    const [ours, theirs] = [speed(`waybill ${way}`), speed(`sftp ${way}`)];
    console.log(
      `${way}: waybill ${ours.toFixed(0)} MB/s, sftp ${theirs.toFixed(0)} MB/s, ratio ${(ours / theirs).toFixed(2)}`,
    );
  }
  const filesPerSecond = smallFiles / (median('waybill small files') / 1000);
  console.log(`${smallFiles} files of 10 KiB, each synced: ${filesPerSecond.toFixed(0)} files/s`);
}

import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { startSshd } from '../../test/servers/sshd.ts';
import { inFlight } from '../benchmark.ts';
import { makeSparse } from './files.ts';
import { type Bench, copyPipeline, localEndpoint, type Part } from './part.ts';
import { sftpEndpoint, sftpSecrets } from './sftp.ts';

const run = promisify(execFile);
const limitMiB = 256;
const folderEntries = 10_000;
const foldersInFlight = 4;

/** The listing comes first: what it leaves of the peak is what the file then adds to. */
export const memory: Part = {
  name: 'memory',
  summary: `peak memory of a worker that only moves bytes beside ${limitMiB} MiB: a listing of 1,000,000 entries, then one file of 10 GiB to an SFTP server`,
  diskBytes: (quick) => fileBytes(quick),
  movesOnly: true,
  async measure(bench) {
    await list(bench);
    const listing = await bench.worker.peakMiB();
    await send(bench);
    const file = await bench.worker.peakMiB();
    return [
      { name: 'memory.listing', ours: listing, peer: limitMiB, unit: 'MiB, peak/allowed' },
      { name: 'memory', ours: file, peer: limitMiB, unit: 'MiB, peak/allowed' },
    ];
  },
};

function fileBytes(quick: boolean): number {
  return (quick ? 1 : 10) * 1024 ** 3;
}

async function list({ quick, folder, say, apply, run: runPipeline }: Bench): Promise<void> {
  const folders = quick ? 10 : 100;
  await makeEntries(join(folder, 'many'), folders);
  say(`listing ${folders * folderEntries} entries`);
  await apply([
    localEndpoint('memory-many', join(folder, 'many')),
    `pipeline: memory-listing
apiVersion: waybill/v1
endpoints: { here: memory-many }
steps:
  - { id: list, use: files.list@1, with: { from: "here:/**" } }
`,
  ]);
  await runPipeline('memory-listing', 0);
}

/** Folders of hard links to the files of the first: a million entries cost a hundred folders. */
async function makeEntries(folder: string, folders: number): Promise<void> {
  await mkdir(join(folder, '0'), { recursive: true });
  await inFlight(foldersInFlight, folderEntries, 1, (index) => writeFile(join(folder, '0', `${index}.csv`), ''));
  await inFlight(foldersInFlight, folders - 1, 1, (index) =>
    run('cp', ['-rl', join(folder, '0'), join(folder, `${index + 1}`)]),
  );
}

async function send({ quick, folder, say, apply, run: runPipeline }: Bench): Promise<void> {
  await makeSparse(join(folder, 'from/one.bin'), fileBytes(quick));
  say(`sending ${fileBytes(quick) / 1024 ** 3} GiB`);
  const server = await startSshd({ root: folder });
  try {
    const endpoints = { here: 'memory-local', there: 'memory-sftp' };
    await apply(
      [
        localEndpoint(endpoints.here, folder),
        sftpEndpoint(endpoints.there, server),
        copyPipeline('memory-file', endpoints, 'here:/from/*', 'there:/to/'),
      ],
      sftpSecrets(endpoints.there, server),
    );
    await runPipeline('memory-file', 1);
  } finally {
    await server.stop();
  }
}

/** One attempt at `files.write` that kills itself when the target has the bytes and the file has no name: `node test/transfer/writeProcess.ts JSON`. */
import { writeFile } from '../../activities/actions/writeFile.ts';
import { createBuffers } from '../../activities/transfer/buffers.ts';
import type { FilesInput } from '../../activities/transfer/files.ts';
import { openStore } from '../../prisma/store.ts';
import { attemptOf, openEngine } from './world.ts';

export interface WriteOptions {
  applicationUrl: string;
  input: FilesInput;
}

const { applicationUrl, input }: WriteOptions = JSON.parse(process.argv[2]!);
const store = openStore({ applicationUrl, log: { warn: () => undefined } });
const { endpoints } = openEngine(store, undefined, {
  onWrite: (event) => {
    if (event === 'acknowledged') process.kill(process.pid, 'SIGKILL');
  },
});
const log = { debug() {}, info() {}, warn() {}, error() {} };
const buffers = createBuffers({ ceilingBytes: 1024 * 1024 });
await writeFile({ store, endpoints, buffers, log }, input, attemptOf());

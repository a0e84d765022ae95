/**
 * One attempt at a batch in a process that may open only `spare` descriptors more than it has when it begins (none, when it is far below 0: numbers may be free):
 * `node test/faults/fewDescriptors.ts '{"applicationUrl","batch","connections","spare"}'`, with so many connections to PostgreSQL
 * among them. Says on stdout what came of it.
 */
import { execFile } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { promisify } from 'node:util';
import { toApplicationFailure } from '../../activities/failure.ts';
import { openStore } from '../../prisma/store.ts';
import { asWaybillError } from '../../schema/errors.ts';
import { attemptOf, openEngine, patient } from '../transfer/world.ts';

const { applicationUrl, batch, connections, spare } = JSON.parse(process.argv[2]!);
const store = openStore({ applicationUrl, log: { warn: () => undefined } });
// Each is kept until all are there.
const allOpen = Promise.withResolvers<void>();
let opened = 0;
const looks = Array.from({ length: connections }, () =>
  store.sql(batch.tenantId, () => {
    if (++opened === connections) allOpen.resolve();
    return allOpen.promise;
  }),
);
await Promise.all(looks);
const engine = openEngine(store);
// Looking takes one itself.
const open = (await readdir('/proc/self/fd')).length - 1;
await promisify(execFile)('prlimit', ['--pid', String(process.pid), `--nofile=${Math.max(0, open + spare)}`]);
const said = await engine.work.copyBatch(batch, attemptOf({ retry: patient })).then(
  (answer) => ({ answer }),
  (thrown) => {
    const error = asWaybillError(thrown);
    const { message } = toApplicationFailure(error, { policy: patient, attempt: 1, startedAtMs: Date.now() });
    return { kind: error.kind, scope: error.scope, message: String(message) };
  },
);
process.stdout.write(JSON.stringify(said));
await engine.close();
await store.close();

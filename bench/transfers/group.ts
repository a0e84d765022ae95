import { mkdir, rm, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Group, median, type Terms } from '../benchmark.ts';
import { type Services, withServices } from '../installation.ts';
import { hottest, monotonicUs, type Window } from '../profile.ts';
import { buildPackage, littleMemory, startWorkerProcess } from '../workerProcess.ts';
import { ledger } from './ledger.ts';
import { localCopy } from './localCopy.ts';
import { memory } from './memory.ts';
import type { Bench, Part } from './part.ts';
import { s3Down, s3SmallUp, s3Up, sftpToS3 } from './s3.ts';
import { sftpDown, sftpSmallDown, sftpSmallUp, sftpUp } from './sftp.ts';

const parts: readonly Part[] = [
  localCopy,
  sftpUp,
  sftpDown,
  sftpSmallUp,
  sftpSmallDown,
  s3Up,
  s3Down,
  s3SmallUp,
  sftpToS3,
  memory,
  ledger,
];

/** What the database, Temporal and the parts' small things need beside the files. */
const headroomBytes = 2 * 1024 ** 3;

/** Whole transfers, over one PostgreSQL and Temporal; each part has a worker process of its own. One that fails does not keep the others from running. */
export const transfers: Group = {
  benchmarks: parts.map(({ name, summary }) => ({ name, summary })),
  measure: async (chosen, terms) => {
    terms.say('building the package');
    await buildPackage();
    await withServices(async (services) => {
      const failures: unknown[] = [];
      for (const part of parts.filter(({ name }) => chosen.has(name)))
        try {
          await Promise.race([measurePart(part, services, terms), terms.interrupted]);
        } catch (error) {
          await Promise.race([terms.interrupted, Promise.resolve()]);
          terms.say(`${part.name} failed: ${error instanceof Error ? error.stack : error}`);
          failures.push(error);
        }
      if (failures.length > 0) throw new Error(`${failures.length} of ${chosen.size} benchmarks failed`);
    });
  },
};

async function measurePart(part: Part, services: Services, terms: Terms): Promise<void> {
  await requireDisk(part, terms.quick);
  const folder = join(services.folder, part.name);
  await mkdir(folder);
  const { environment } = services;
  const others = part.movesOnly ? [await startWorkerProcess(environment, null, ['--only', 'runs,system'])] : [];
  const worker = part.movesOnly
    ? await startWorkerProcess({ ...environment, ...littleMemory }, terms.profileFolder, ['--only', 'transfers'])
    : await startWorkerProcess(environment, terms.profileFolder);
  const windows: Window[] = [];
  const cpu: CpuOfRun[] = [];
  try {
    const bench: Bench = {
      quick: terms.quick,
      say: (message) => terms.say(`${part.name}: ${message}`),
      folder,
      services,
      worker,
      apply: (documents, secrets) => services.apply(documents.join('---\n'), secrets),
      async run(pipeline, files) {
        const fromUs = monotonicUs();
        const before = await worker.cpuSeconds();
        await Promise.race([runToEnd(services, pipeline, files), worker.lost]);
        const after = await worker.cpuSeconds();
        windows.push({ fromUs, toUs: monotonicUs() });
        if (before !== null && after !== null)
          cpu.push({ pipeline, main: after.main - before.main, others: after.others - before.others });
      },
    };
    const measurements = await part.measure(bench);
    const rssMiB = await worker.peakMiB();
    for (const measurement of measurements) terms.report({ ...measurement, rssMiB });
    for (const line of tellCpu(cpu)) terms.say(`${part.name}: ${line}`);
  } finally {
    for (const one of [worker, ...others]) await one.stop();
    await rm(folder, { recursive: true, force: true });
  }
  if (terms.profileFolder !== null)
    for (const line of await hottest(terms.profileFolder, {
      name: part.name,
      pid: worker.pid,
      windows: windows.slice(1),
    }))
      terms.say(`${part.name}: ${line}`);
}

/** Of the worker, in seconds. */
interface CpuOfRun {
  pipeline: string;
  main: number;
  others: number;
}

/** What a busy machine changes least. The first run of a pipeline does not count, when there are others. */
function tellCpu(runs: readonly CpuOfRun[]): string[] {
  return [...Map.groupBy(runs, ({ pipeline }) => pipeline)].map(([pipeline, [first, ...later]]) => {
    const counted = later.length > 0 ? later : [first!];
    const of = (part: 'main' | 'others') => median(counted.map((run) => run[part])).toFixed(2);
    return `a run of ${pipeline} took ${of('main')} s of CPU in JavaScript's thread, ${of('others')} s in the worker's others`;
  });
}

async function requireDisk({ name, diskBytes }: Part, quick: boolean): Promise<void> {
  const { bavail, bsize } = await statfs(tmpdir());
  const wanted = diskBytes(quick) + headroomBytes;
  const gib = (bytes: number) => (bytes / 1024 ** 3).toFixed(1);
  if (bavail * bsize < wanted)
    throw new Error(
      `${name} needs ${gib(wanted)} GiB in ${tmpdir()}, which has ${gib(bavail * bsize)}; TMPDIR names another folder`,
    );
}

async function runToEnd({ store, tenant, temporal, start }: Services, pipeline: string, files: number): Promise<void> {
  const workflowId = await start(pipeline);
  await temporal.workflow.getHandle(workflowId).result();
  const [end] = await store.sql(tenant.tenantId, (sql) =>
    sql.query<{ status: string; settled: string; error: string | null }>(
      `select r.status, r.error->>'message' as error, count(d.id)::text as settled
         from run r left join delivery d on d.tenant_id = r.tenant_id and d.run_id = r.id and d.state = 'settled'
        where r.tenant_id = $1::uuid and r.workflow_id = $2::text group by r.status, r.error`,
      [tenant.tenantId, workflowId],
    ),
  );
  if (end?.status !== 'succeeded' || Number(end.settled) !== files)
    throw new Error(`${pipeline} is ${end?.status} with ${end?.settled} of ${files} files settled: ${end?.error}`);
}

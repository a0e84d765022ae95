import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Benchmark, inFlight, type Measurement, median, type Terms } from './benchmark.ts';
import { type Execution, executionsOf } from './histories.ts';
import { type Installation, withInstallation } from './installation.ts';

const smallItems = 1_000;
/** What one history may hold: a run over any number of items stays below it. */
const historyEventsAtMost = 4_000;
const sampleMs = 1_000;
const filesInFlight = 64;

/** Real folders of empty files, listed by `files.list`; an item writes one audit event. Small runs stand before and after the large one. */
export const foreachScale: Benchmark = {
  name: 'foreach-scale',
  summary: `a forEach over 100,000 files beside one over 1,000: time of an item, longest history, memory`,
  measure: (terms) =>
    withInstallation((installation) => Promise.race([compare(installation, terms), terms.interrupted])),
};

interface LoopRun {
  msPerItem: number;
  executions: Execution[];
  /** Resident MiB of this process, which is API and worker, once a second. */
  residentMiB: number[];
}

async function compare(installation: Installation, { quick, say }: Terms): Promise<Measurement[]> {
  const largeItems = quick ? 10_000 : 100_000;
  await makeFiles(installation, 'small', smallItems);
  await makeFiles(installation, 'large', largeItems);
  await installation.apply([endpoint(installation), pipeline('small'), pipeline('large')].join('---\n'));
  // The first runs of a process are slower than all that follow.
  for (let round = 0; round < 2; round++) await loop(installation, 'small', smallItems);
  const small: number[] = [];
  const smallRounds = async () => {
    for (let round = 0; round < 3; round++) small.push((await loop(installation, 'small', smallItems)).msPerItem);
  };
  await smallRounds();
  say(`1,000 items: ${small.map((ms) => ms.toFixed(2)).join(', ')} ms each; now ${largeItems}`);
  const large = await loop(installation, 'large', largeItems);
  await smallRounds();
  const { executions, residentMiB } = large;
  const longest = Math.max(...executions.map(({ events }) => events));
  say(`${executions.length - 1} times continued as new; MiB: ${tenths(residentMiB).join(' ')}`);
  return [
    { name: 'foreach-scale.cost', ours: large.msPerItem, peer: median(small), unit: 'ms an item, large/small' },
    { name: 'foreach-scale.history', ours: longest, peer: historyEventsAtMost, unit: 'events, longest/allowed' },
    {
      name: 'foreach-scale.memory',
      ours: tenths(residentMiB).at(-1)!,
      peer: tenths(residentMiB)[1]!,
      unit: 'MiB, last tenth/second',
    },
  ];
}

async function makeFiles({ folder }: Installation, name: string, count: number): Promise<void> {
  await mkdir(join(folder, 'files', name), { recursive: true });
  await inFlight(filesInFlight, count, 1, (index) => writeFile(join(folder, 'files', name, `${index}.csv`), ''));
}

function endpoint({ folder }: Installation): string {
  return `endpoint: bench-files\napiVersion: waybill/v1\nconnector: local\nconfig: { root: ${join(folder, 'files')} }\n`;
}

function pipeline(name: string): string {
  return `pipeline: foreach-${name}
apiVersion: waybill/v1
endpoints: { here: bench-files }
steps:
  - id: list
    use: files.list@1
    with: { from: "here:/${name}/*" }
  - id: each
    forEach: steps.list.files
    as: file
    maxParallel: 100
    steps:
      - use: audit.write@1
        with: { event: bench.item, data: { path: "\${{ file.path }}" } }
`;
}

/** One run. An item's time is that from the first event to the last, by their number: neither listing nor start counts. */
async function loop({ temporal, tenant, store, start }: Installation, name: string, items: number): Promise<LoopRun> {
  const workflowId = await start(`foreach-${name}`);
  const handle = temporal.workflow.getHandle(workflowId);
  const { runId: firstRunId } = await handle.describe();
  const residentMiB: number[] = [];
  const sampling = setInterval(() => residentMiB.push(process.memoryUsage.rss() / 2 ** 20), sampleMs);
  try {
    await handle.result();
  } finally {
    clearInterval(sampling);
  }
  const [written] = await store.sql(tenant.tenantId, (sql) =>
    sql.query<{ count: string; ms: number }>(
      `select count(*)::text as count, (extract(epoch from max(e.created_at) - min(e.created_at)) * 1000)::float8 as ms
         from audit_event e join run r on r.tenant_id = e.tenant_id and r.id = e.run_id
        where r.workflow_id = $1::text and e.type = 'bench.item'`,
      [workflowId],
    ),
  );
  if (Number(written!.count) !== items) throw new Error(`${written!.count} of ${items} items were walked`);
  return {
    msPerItem: written!.ms / items,
    residentMiB,
    executions: await executionsOf(temporal, workflowId, firstRunId),
  };
}

/** Ten medians over time. */
function tenths(samples: readonly number[]): number[] {
  const width = Math.max(1, Math.floor(samples.length / 10));
  return Array.from({ length: 10 }, (_, nth) => {
    const part = samples.slice(nth * width, (nth + 1) * width);
    return Math.round(median(part.length === 0 ? samples : part));
  });
}

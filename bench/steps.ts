import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { bundleWorkflowCode, NativeConnection, Worker } from '@temporalio/worker';
import { createEndpointPool } from '../activities/endpoints.ts';
import { createRunActivities } from '../activities/index.ts';
import { createBuffers } from '../activities/transfer/buffers.ts';
import { encryptingConverter } from '../cli/services/dataConverter.ts';
import { failureConverterPath } from '../cli/services/workflowBundles.ts';
import { createRegistry } from '../connectors/registry.ts';
import { noHostSecrets } from '../identity/hostSecrets.ts';
import { createSecretBox } from '../identity/secrets.ts';
import { createDialler } from '../network/dialler.ts';
import { type RunArguments, runWorkflowId, taskQueues } from '../schema/workflow.ts';
import { type Benchmark, inFlight, type Measurement, median, type Terms, timed } from './benchmark.ts';
import { executionsOf } from './histories.ts';
import { type Installation, withInstallation } from './installation.ts';

const stepsOfRun = 3;
const runsInFlight = 50;
const handQueue = 'bench-by-hand';
const pipeline = `pipeline: bench-steps
apiVersion: waybill/v1
steps:
  - { use: audit.write@1, with: { event: bench.one } }
  - { use: audit.write@1, with: { event: bench.two } }
  - { use: audit.write@1, with: { event: bench.three } }
`;

/** Both walk the same rows with the same activities, on one server, in turns. */
export const steps: Benchmark = {
  name: 'steps',
  summary: 'runs of three steps beside a TypeScript workflow with the same activities: rate, and events of a step',
  measure: (terms) =>
    withInstallation((installation) =>
      withHandWorker(installation, () => Promise.race([compare(installation, terms), terms.interrupted])),
    ),
};

interface Contestant {
  workflowType: string;
  taskQueue: string;
}

const ours: Contestant = { workflowType: 'bench-steps', taskQueue: taskQueues.runs };
const byHand: Contestant = { workflowType: 'stepsByHand', taskQueue: handQueue };

async function compare(installation: Installation, { quick, say }: Terms): Promise<Measurement[]> {
  const [runs, rounds] = quick ? [100, 3] : [300, 7];
  await installation.apply(pipeline);
  for (const contestant of [ours, byHand]) await race(installation, contestant, runs);
  const rates = { ours: [] as number[], peer: [] as number[] };
  for (let round = 1; round <= rounds; round++) {
    const turns = [
      async () => void rates.peer.push(await race(installation, byHand, runs)),
      async () => void rates.ours.push(await race(installation, ours, runs)),
    ];
    // Whoever comes second finds a larger database: they take turns at that too.
    for (const turn of round % 2 === 0 ? turns.reverse() : turns) await turn();
    say(`round ${round} of ${rounds}: ${rates.ours.at(-1)!.toFixed(1)} and ${rates.peer.at(-1)!.toFixed(1)} runs/s`);
  }
  return [
    { name: 'steps.rate', ours: median(rates.ours), peer: median(rates.peer), unit: 'runs/s' },
    {
      name: 'steps.events',
      ours: await eventsOfStep(installation, ours),
      peer: await eventsOfStep(installation, byHand),
      unit: 'events a step',
    },
  ];
}

/** Runs a second, from the first start to the last end. */
async function race(installation: Installation, contestant: Contestant, runs: number): Promise<number> {
  const rows = await newRuns(installation, contestant, runs);
  const ms = await timed(() =>
    inFlight(runsInFlight, runs, 1, (index) => walk(installation, contestant, rows[index]!)),
  );
  return runs / (ms / 1000);
}

async function eventsOfStep(installation: Installation, contestant: Contestant): Promise<number> {
  const [row] = await newRuns(installation, contestant, 1);
  const { workflowId, firstRunId } = await walk(installation, contestant, row!);
  const executions = await executionsOf(installation.temporal, workflowId, firstRunId);
  return executions.reduce((sum, { events }) => sum + events, 0) / stepsOfRun;
}

async function walk({ temporal }: Installation, { workflowType, taskQueue }: Contestant, run: RunArguments) {
  const workflowId = runWorkflowId(run.tenantId, workflowType, run.runId);
  const handle = await temporal.workflow.start(workflowType, { taskQueue, workflowId, args: [run] });
  await handle.result();
  return { workflowId, firstRunId: handle.firstExecutionRunId };
}

/** Rows as `startRun` writes them: what each run's first activity loads, and what the sweep finds a workflow for. */
async function newRuns(
  { store, tenant }: Installation,
  { workflowType }: Contestant,
  count: number,
): Promise<RunArguments[]> {
  const { tenantId, principalId } = tenant;
  const runs = Array.from({ length: count }, () => ({ tenantId, runId: randomUUID() }));
  await store.sql(tenantId, (sql) =>
    sql.query(
      `insert into run (tenant_id, id, version_id, pipeline_name, status, trigger, workflow_id, created_by)
       select $1::uuid, r.id, v.id, p.name, 'starting', 'manual', r.workflow, $2::uuid
         from unnest($3::uuid[], $4::text[]) as r(id, workflow),
              pipeline p join pipeline_version v on v.tenant_id = p.tenant_id and v.pipeline_id = p.id
        where p.tenant_id = $1::uuid and p.name = 'bench-steps'`,
      [
        tenantId,
        principalId,
        runs.map(({ runId }) => runId),
        runs.map(({ runId }) => runWorkflowId(tenantId, workflowType, runId)),
      ],
    ),
  );
  return runs;
}

/** A worker like ours, with the workflow that was written by hand. */
async function withHandWorker<Result>(
  { store, temporalAddress, tenantKeys }: Installation,
  work: () => Promise<Result>,
): Promise<Result> {
  const silent = () => undefined;
  const log = { debug: silent, info: silent, warn: silent, error: silent };
  const dialler = createDialler({ loopback: true, allow: [] });
  const endpoints = createEndpointPool({
    store,
    registry: createRegistry(),
    secretBox: createSecretBox(tenantKeys),
    hostSecrets: noHostSecrets,
    connectorContext: { dialler, localRoots: [], log },
    log,
  });
  const connection = await NativeConnection.connect({ address: temporalAddress });
  const worker = await Worker.create({
    connection,
    taskQueue: handQueue,
    dataConverter: encryptingConverter(tenantKeys),
    workflowBundle: await bundleWorkflowCode({
      failureConverterPath,
      workflowsPath: fileURLToPath(new URL('workflows/stepsByHand.ts', import.meta.url)),
      logger: { log: silent, trace: silent, ...log },
    }),
    activities: createRunActivities({
      store,
      log,
      endpoints,
      buffers: createBuffers({ ceilingBytes: 2 ** 20 }),
      clock: { now: () => new Date() },
    }),
  });
  try {
    return await worker.runUntil(work);
  } finally {
    await connection.close();
    await endpoints.close();
    await dialler.close();
  }
}

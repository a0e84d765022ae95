import { fileURLToPath } from 'node:url';
import { activityInfo, Context } from '@temporalio/activity';
import { Client, Connection } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import type { History } from '@temporalio/common/lib/proto-utils.js';
import { NativeConnection, Worker, type WorkflowBundle } from '@temporalio/worker';
import { logTemporalTo } from '../../cli/services/temporalLog.ts';
import { bundleRuns } from '../../cli/services/workflowBundles.ts';
import { actions } from '../../schema/actions.ts';
import type { Failure, Json, Plan } from '../../schema/plan.ts';
import { runSignals, taskQueues } from '../../schema/workflow.ts';
import { startTemporal } from '../servers/temporal.ts';
import { answer, type SeenCall } from './answers.ts';
import { runFacts } from './walk.ts';

/** A real Temporal whose activities answer from `answers.ts`, with the product's workflow bundle and one that suspends often. */
export interface TemporalWorld {
  run(options: WorldRun): Promise<EndedWorldRun>;
  history(workflowId: string): Promise<History>;
  bundles: Record<BundleName, WorkflowBundle>;
  stop(): Promise<void>;
}

export type BundleName = 'product' | 'suspending';

export interface WorldRun {
  workflowId: string;
  bundle: BundleName;
  plan: Plan;
  inputs: Record<string, Json>;
  /** Another run holds the concurrency key when this one begins, and ends soon after. */
  waits?: boolean;
  /** What an operator does while call number `call` is under way. */
  operator?: { call: number; does: 'cancel' | 'pause and resume' };
}

export interface EndedWorldRun {
  /** In the order in which they were first attempted. */
  calls: SeenCall[];
  /** What the last activity was told: how the run ended. */
  end: Json;
  /** How many histories the run has had. */
  histories: number;
}

interface Recording {
  plan: Plan;
  inputs: Record<string, Json>;
  calls: SeenCall[];
  made: Map<string, number>;
  /** What a call was answered with at its first attempt, by the id of its activity: a second attempt gets no other. */
  before: Map<string, number>;
  histories: Set<string>;
  paused: boolean;
  waits: boolean;
  /** Called when the run has been told to wait. */
  onWaiting(): Promise<void>;
  /** Called with the number of each call, before it is answered. */
  onCall(call: number): Promise<void>;
  /** Called when the run has read that it is paused. */
  onPaused(): Promise<void>;
  end: Json;
}

const suspendingQueue = 'waybill-property-suspending';

export async function startTemporalWorld(): Promise<TemporalWorld> {
  silenceTemporal();
  const server = await startTemporal();
  const [connection, clientConnection, product, suspending] = await Promise.all([
    NativeConnection.connect({ address: server.address }),
    Connection.connect({ address: server.address }),
    bundleRuns(),
    bundleSuspendingRuns(),
  ]);
  const recordings = new Map<string, Recording>();
  const activities = recordingActivities(recordings);
  const common = { connection, namespace: server.namespace, identity: 'property test' };
  const workers = await Promise.all([
    Worker.create({ ...common, taskQueue: taskQueues.runs, workflowBundle: product, activities }),
    Worker.create({ ...common, taskQueue: taskQueues.transfers, activities }),
    Worker.create({ ...common, taskQueue: suspendingQueue, workflowBundle: suspending }),
  ]);
  const running = workers.map((worker) => worker.run());
  const client = new Client({ connection: clientConnection, namespace: server.namespace, identity: 'property test' });
  return {
    bundles: { product, suspending },
    async run({ workflowId, bundle: name, plan, inputs, waits = false, operator }) {
      const handle = client.workflow.getHandle(workflowId);
      const recording: Recording = {
        plan,
        inputs,
        calls: [],
        made: new Map(),
        before: new Map(),
        histories: new Set(),
        paused: false,
        waits,
        async onWaiting() {
          recording.waits = false;
          await handle.signal(runSignals.admission);
        },
        async onCall(call) {
          if (call !== operator?.call) return;
          recording.paused = operator.does !== 'cancel';
          await (recording.paused ? handle.signal(runSignals.control) : handle.cancel());
        },
        async onPaused() {
          recording.paused = false;
          await handle.signal(runSignals.control);
        },
        end: null,
      };
      recordings.set(workflowId, recording);
      await client.workflow.start(plan.pipeline, {
        workflowId,
        taskQueue: name === 'product' ? taskQueues.runs : suspendingQueue,
        args: [{ tenantId: 'tenant', runId: 'run' }],
        workflowRunTimeout: '120s',
      });
      const refusal = await handle.result().then(
        () => null,
        (error: Error) => error.cause ?? error,
      );
      if (recording.end === null) throw new Error(`${workflowId} ended without a word: ${refusal}`);
      recordings.delete(workflowId);
      return { calls: recording.calls, end: recording.end, histories: recording.histories.size };
    },
    history: (workflowId) => client.workflow.getHandle(workflowId).fetchHistory(),
    async stop() {
      for (const worker of workers) worker.shutdown();
      await Promise.all(running);
      await clientConnection.close();
      await connection.close();
      await server.stop();
    },
  };
}

/** Failing activities are what these tests are about. */
export function silenceTemporal(): void {
  logTemporalTo(silent);
}

/** The product's bundle with its port replaced by one that suspends often. */
function bundleSuspendingRuns(): Promise<WorkflowBundle> {
  const port = fileURLToPath(new URL('./suspendingPort.ts', import.meta.url));
  return bundleRuns({
    webpackConfigHook: (config) => ({
      ...config,
      resolve: { ...config.resolve, alias: { ...config.resolve?.alias, './temporalPort.ts$': port } },
    }),
  });
}

const silent = { debug() {}, info() {}, warn() {}, error() {} };
const own = ['files.page', 'transfer.plan', 'transfer.batch', 'transfer.finish'];

function recordingActivities(
  recordings: Map<string, Recording>,
): Record<string, (input: SeenCall['input']) => Promise<Json>> {
  const names = [...own, ...actions.map((action) => action.use)];
  return {
    ...Object.fromEntries(names.map((name) => [name, async (input) => record(recordingOf(recordings), name, input)])),
    'run.begin': async () => {
      const recording = recordingOf(recordings);
      const { plan, inputs, waits } = recording;
      if (waits) {
        await recording.onWaiting();
        return { state: 'waiting', message: 'another run holds the key', cancel: [] };
      }
      return { state: 'running', plan, inputs, run: runFacts, retry: null, paused: false } as unknown as Json;
    },
    'run.control': async () => {
      const recording = recordingOf(recordings);
      const { paused } = recording;
      if (paused) await recording.onPaused();
      return { paused, message: paused ? 'paused by the test' : null };
    },
    'run.finish': async ({ status, error, outputs }) => {
      const failure = error as unknown as Failure | null;
      recordingOf(recordings).end = { status: status!, failure: failure?.kind ?? null, outputs: outputs! };
      return { status: status!, files: 0, bytes: 0, skipped: 0, failed: 0, wake: [] };
    },
  };
}

function recordingOf(recordings: Map<string, Recording>): Recording {
  const { workflowId, runId } = activityInfo().workflowExecution!;
  const recording = recordings.get(workflowId);
  if (recording === undefined) throw ApplicationFailure.nonRetryable(`nobody waits for ${workflowId}`);
  recording.histories.add(runId);
  return recording;
}

async function record(recording: Recording, activity: string, input: SeenCall['input']): Promise<Json> {
  const { attempt, activityId, workflowExecution } = Context.current().info;
  const call = { activity, input };
  const id = `${workflowExecution!.runId}/${activityId}`;
  if (!recording.before.has(id)) {
    const key = JSON.stringify([activity, input.with ?? input]);
    const before = recording.made.get(key) ?? 0;
    recording.made.set(key, before + 1);
    recording.before.set(id, before);
    recording.calls.push(call);
    await recording.onCall(recording.calls.length);
  }
  const given = answer(call, recording.before.get(id)!, attempt);
  if ('output' in given) return given.output;
  const { failure } = given;
  throw ApplicationFailure.create({
    message: failure.message,
    type: failure.kind,
    nonRetryable: given.flaky !== true,
    details: [failure],
    nextRetryDelay: 1,
  });
}

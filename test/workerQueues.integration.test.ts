import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Connection } from '@temporalio/client';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually } from '../connectors/conformance/steps.ts';
import { taskQueues } from '../schema/workflow.ts';
import { startWaybill, waybill } from './commandLine.ts';
import { type Installation, startInstallation } from './servers/installation.ts';

const activityTasks = 2;
let installation: Installation;
beforeAll(async () => {
  installation = await startInstallation();
}, 120_000);
afterAll(() => installation?.stop(), 60_000);

/** A worker of the clone compiles what it loads; a busy machine takes its time for that. */
const workerStartMs = 60_000;

test('one worker walks pipelines, and another only moves bytes', { timeout: 120_000 }, async () => {
  const { environment, folder } = installation;
  await installation.restartWorker(['--only', 'runs,system']);
  for (const name of ['from', 'to']) await mkdir(path.join(folder, name));
  await writeFile(path.join(folder, 'from', 'a.csv'), 'bytes');
  await writeFile(
    path.join(folder, 'copy.yaml'),
    `endpoint: here
apiVersion: waybill/v1
connector: local
config: { root: ${folder} }
---
pipeline: copy
apiVersion: waybill/v1
endpoints: { here: here }
steps:
  - { id: copy, use: transfer.copy@1, with: { from: "here:/from/*", to: "here:/to/" } }
`,
  );
  expect(await waybill(['apply', path.join(folder, 'copy.yaml')], { environment })).toMatchObject({ code: 0 });
  const temporal = await Connection.connect({ address: environment.TEMPORAL_ADDRESS! });
  const pollers = async (name: string) => {
    const request = { namespace: 'default', taskQueue: { name }, taskQueueType: activityTasks };
    return (await temporal.workflowService.describeTaskQueue(request)).pollers!.map(({ identity }) => identity);
  };
  // The killed worker's last poll is remembered for a while: only the others count.
  const before = new Set(await pollers(taskQueues.transfers));
  await eventually(
    async () => expect((await pollers(taskQueues.runs)).filter((one) => !before.has(one))).toHaveLength(1),
    workerStartMs,
  );
  const mover = startWaybill(['worker', '--only', 'transfers'], { environment });
  try {
    const run = await waybill(['run', 'copy', '--wait', '--json'], { environment });
    expect(JSON.parse(run.stdout)).toMatchObject({ run: { status: 'succeeded' } });
    expect(await readFile(path.join(folder, 'to', 'a.csv'), 'utf8')).toBe('bytes');
    const [walking, moving] = await Promise.all([pollers(taskQueues.runs), pollers(taskQueues.transfers)]);
    const added = moving.filter((one) => !before.has(one));
    expect(added).toEqual([expect.stringMatching(new RegExp(`^${mover.child.pid}@`))]);
    expect(walking).not.toContain(added[0]);
  } finally {
    mover.child.kill('SIGTERM');
    await mover.ended;
    await temporal.close();
  }
});

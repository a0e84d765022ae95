import { readdir, readFile } from 'node:fs/promises';
import { Worker, type WorkflowBundle } from '@temporalio/worker';
import { beforeAll, describe, expect, test } from 'vitest';
import { bundleRuns } from '../../cli/services/workflowBundles.ts';
import { silenceTemporal } from '../property/temporalWorld.ts';

/**
 * Runs that are in flight when a new version is deployed go on by replaying their history with the new code. One history
 * for each feature of the language stands for them (`record.ts`): a change that would break them is red here.
 */
const folder = new URL('./', import.meta.url);
const names = await readdir(folder);
const features = names.filter((name) => name.endsWith('.yaml')).map((name) => name.replace('.yaml', ''));
const bundleTimeoutMs = 60_000;

let workflowBundle: WorkflowBundle;
beforeAll(async () => {
  silenceTemporal();
  workflowBundle = await bundleRuns();
}, bundleTimeoutMs);

describe('a run in flight goes on with this version, with', () => {
  test.each(features)('%s', async (feature) => {
    const history = JSON.parse(await readFile(new URL(`${feature}.json`, folder), 'utf8'));
    await Worker.runReplayHistory(
      { workflowBundle, replayName: feature },
      history,
      `tenant/history-${feature}/recorded`,
    );
  });
});

test('histories name no machine and hold no stack', async () => {
  for (const feature of features) {
    const text = await readFile(new URL(`${feature}.json`, folder), 'utf8');
    expect(text, feature).not.toMatch(/"identity":"\d+@|stackTrace|node_modules/);
  }
});

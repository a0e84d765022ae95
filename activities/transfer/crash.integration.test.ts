import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Json } from '../../schema/plan.ts';
import { createTestDatabase, type TestDatabase } from '../../test/servers/database.ts';
import { attemptOf, type Engine, openEngine, openWorld, patient } from '../../test/transfer/world.ts';
import { type DurableStep, durableSteps } from './context.ts';

const copyProcess = fileURLToPath(new URL('../../test/transfer/copyProcess.ts', import.meta.url));
let database: TestDatabase;
let engine: Engine;

beforeAll(async () => {
  database = await createTestDatabase();
  engine = openEngine(database.store);
});
afterAll(async () => {
  await engine?.close();
  await database?.drop();
});

/** Kills a process that copies, after that step, with SIGKILL; then copies again in another. */
async function killAndRepeat(
  given: Record<string, Json>,
  steps: readonly DurableStep[],
  prepare?: (target: string) => Promise<void>,
) {
  const world = await openWorld(database.store, database.tenants.a, engine);
  try {
    await world.put({ 'a.csv': 'the only one' });
    await prepare?.(world.target);
    const runId = await world.newRun();
    const { transferId } = await world.plan(runId, given);
    const batch = { tenantId: world.tenantId, runId, transferId, batch: 0 };
    let attempt = 1;
    for (const step of steps) {
      const options = { applicationUrl: database.applicationUrl, batch, step, attempt: attempt++ };
      const child = spawn(process.execPath, [copyProcess, JSON.stringify(options)], {
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      let said = '';
      child.stderr.on('data', (text) => {
        said += text;
      });
      const [, signal] = await once(child, 'exit');
      expect(signal, said).toBe('SIGKILL');
    }
    const sent: string[] = [];
    const last = openEngine(database.store, (step) => void sent.push(step));
    const answer = await last.work.copyBatch(batch, attemptOf({ attempt, retry: patient }));
    await last.close();
    const end = await engine.work.finishTransfer({ tenantId: world.tenantId, runId, transferId, status: 'succeeded' });
    const [row] = await world.deliveries(runId);
    const published = (await world.events('delivery.published')).filter((event) => event.deliveryId === row!.id);
    const left = (await readdir(world.target, { recursive: true })).filter((name) => name.endsWith('.part'));
    return {
      answer,
      end,
      row: row!,
      published,
      sent,
      left,
      source: await world.read(world.source),
      target: await world.read(world.target),
    };
  } finally {
    await world.remove();
  }
}

describe.each(durableSteps)('a worker killed once a delivery is %s', (step) => {
  test('is taken over by another, with exactly one delivery and nothing left behind', async () => {
    const given = { from: 'partner:/a.csv', to: 'landing:/in/', then: { move: '/done/' } };
    const { answer, end, row, published, sent, left, source, target } = await killAndRepeat(given, [step]);
    expect(answer).toMatchObject({ files: 1, bytes: 12, failed: 0 });
    expect(end).toMatchObject({ files: 1, failed: 0, firstFailure: null });
    expect(row).toMatchObject({ state: 'settled', disposed: '/done/a.csv', errorMessage: null });
    expect(published).toHaveLength(1);
    expect(left).toEqual([]);
    expect(target).toEqual({ '/in/a.csv': 'the only one' });
    expect(source).toEqual({ '/done/a.csv': 'the only one' });
    const isPublished = durableSteps.indexOf(step) >= durableSteps.indexOf('committed');
    expect(sent.includes('written')).toBe(!isPublished);
  });
});

test('a worker killed again and again, each time further on, still delivers once', async () => {
  const given = { from: 'partner:/a.csv', to: 'landing:/in/', then: { delete: true } };
  const { row, published, left, source, target } = await killAndRepeat(given, durableSteps.slice(0, 6));
  expect(row).toMatchObject({ state: 'settled' });
  expect(published).toHaveLength(1);
  expect(left).toEqual([]);
  expect(target).toEqual({ '/in/a.csv': 'the only one' });
  expect(source).toEqual({});
});

test.each(['overwrite', 'version'])(
  'with onConflict %s a file that was renamed before the crash is not sent again',
  async (onConflict) => {
    const given = { from: 'partner:/a.csv', to: 'landing:/in/', onConflict };
    const { row, published, sent, target } = await killAndRepeat(given, ['committed'], async (folder) => {
      await mkdir(join(folder, 'in'));
      await writeFile(join(folder, 'in/a.csv'), 'an older one');
    });
    expect(sent).not.toContain('written');
    expect(published).toHaveLength(1);
    expect(row.target).toBe(onConflict === 'version' ? '/in/a.v2.csv' : '/in/a.csv');
    expect(target).toEqual(
      onConflict === 'version'
        ? { '/in/a.csv': 'an older one', '/in/a.v2.csv': 'the only one' }
        : { '/in/a.csv': 'the only one' },
    );
  },
);

import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { releaseExpiredClaims } from '../../prisma/ledger.ts';
import type { TestDatabase } from '../../test/servers/database.ts';
import { attemptOf, type Engine, openEngine, patient, type World } from '../../test/transfer/world.ts';
import { worldOfEachTest } from '../../test/transfer/worldOfEachTest.ts';

let database: TestDatabase;
let engine: Engine;
let world: World;
worldOfEachTest((opened) => {
  ({ database, engine, world } = opened);
});

const all = { from: 'partner:/**', to: 'landing:/in/' };

describe('claims', () => {
  test('of a run that died are taken over when their lease has run out, and swept away in the end', async () => {
    await world.put({ 'a.csv': 'a' });
    const died = await world.newRun();
    await world.plan(died, all);
    const [row] = await world.deliveries(died);
    const lease = (seconds: number) =>
      database.asOwner(
        `insert into delivery_claim (tenant_id, delivery_key, delivery_id, owner, lease_until)
         select tenant_id, delivery_key, id, 'dead', now() + make_interval(secs => ${seconds}) from delivery where id = '${row!.id}'
         on conflict (tenant_id, delivery_key) do update set lease_until = excluded.lease_until`,
      );
    await lease(2);
    const started = Date.now();
    expect(await world.copy(all)).toMatchObject({ files: 1, skipped: 0 });
    expect(Date.now() - started).toBeGreaterThan(1_500);
    const other = await world.newRun();
    await world.plan(other, { ...all, to: 'landing:/elsewhere/' });
    await database.asOwner(
      `insert into delivery_claim (tenant_id, delivery_key, delivery_id, owner, lease_until)
       select tenant_id, delivery_key, id, 'dead', now() - interval '2 hours' from delivery where run_id = '${other}'`,
    );
    const sweep = { olderThanMs: 3_600_000, tenants: 10, rows: 10 };
    expect(await releaseExpiredClaims(database.store, sweep)).toBe(1);
    expect(await releaseExpiredClaims(database.store, sweep)).toBe(0);
  });

  test('a stale attempt finds its lease gone and publishes nothing', async () => {
    await world.put({ 'a.csv': 'a' });
    const runId = await world.newRun();
    const { transferId } = await world.plan(runId, all);
    const batch = { tenantId: world.tenantId, runId, transferId, batch: 0 };
    const taken = { claims: 0, staleIsOver: false };
    const stale = openEngine(database.store, (step) =>
      step === 'written' ? until(() => taken.claims === 1) : undefined,
    );
    const next = openEngine(database.store, (step) => {
      if (step !== 'claimed') return;
      taken.claims++;
      return until(() => taken.staleIsOver);
    });
    const first = stale.work.copyBatch(batch, attemptOf());
    await untilAsync(async () => (await world.deliveries(runId))[0]!.attempt === 1);
    const second = next.work.copyBatch(batch, attemptOf({ attempt: 2 }));
    await expect(first).rejects.toMatchObject({ kind: 'conflict', context: { leaseLost: true } });
    expect(await world.read(world.target)).toEqual({});
    taken.staleIsOver = true;
    expect(await second).toMatchObject({ files: 1 });
    await stale.close();
    await next.close();
    expect(await world.read(world.target)).toEqual({ '/in/a.csv': 'a' });
    const [row] = await world.deliveries(runId);
    expect((await world.events('delivery.published')).filter((event) => event.deliveryId === row!.id)).toHaveLength(1);
  });

  test('a cancellation in the middle of a file stops within a second, and the end of the transfer leaves nothing', async () => {
    await world.put({ 'large.bin': Buffer.alloc(48 * 1024 * 1024) });
    const runId = await world.newRun();
    const { transferId } = await world.plan(runId, all);
    const cancelling = new AbortController();
    let cancelledAt = 0;
    const watching = openEngine(database.store, (step) => {
      if (step !== 'claimed') return;
      const look = setInterval(async () => {
        const found = await readdir(join(world.target, 'in')).catch(() => []);
        if (found.length === 0) return;
        clearInterval(look);
        cancelledAt = Date.now();
        cancelling.abort();
      }, 1);
    });
    const batch = { tenantId: world.tenantId, runId, transferId, batch: 0 };
    await expect(watching.work.copyBatch(batch, attemptOf({ signal: cancelling.signal }))).rejects.toMatchObject({
      kind: 'cancelled',
    });
    expect(Date.now() - cancelledAt).toBeLessThan(1_000);
    await watching.close();
    await engine.work.finishTransfer({ tenantId: world.tenantId, runId, transferId, status: 'cancelled' });
    expect(await world.read(world.target)).toEqual({});
    expect((await world.deliveries(runId))[0]).toMatchObject({ state: 'cancelled', publishedAt: null });
    expect(
      await database.asOwner(
        `select 1 from delivery_claim c join delivery d on d.id = c.delivery_id where d.run_id = '${runId}'`,
      ),
    ).toEqual([]);
  });

  test('a copy that stands still is stopped as timeout', async () => {
    await world.put({ 'a.csv': 'a' });
    const runId = await world.newRun();
    const { transferId } = await world.plan(runId, all);
    let letGo = () => {};
    const standing = openEngine(database.store, (step) =>
      step === 'written'
        ? new Promise<void>((resolve) => {
            letGo = resolve;
          })
        : undefined,
    );
    const context = attemptOf({
      terms: { retry: patient, stallMs: 1_000 },
      heartbeat: () => {
        if (Date.now() - started > 2_500) letGo();
      },
    });
    const started = Date.now();
    await expect(
      standing.work.copyBatch({ tenantId: world.tenantId, runId, transferId, batch: 0 }, context),
    ).rejects.toMatchObject({ kind: 'timeout' });
    await standing.close();
    expect(await world.read(world.target)).toEqual({});
  });

  test('an attempt says at least once a second that it lives, and how far it is', async () => {
    await world.put({ 'a.csv': 'a' });
    const runId = await world.newRun();
    const { transferId } = await world.plan(runId, all);
    const beats: number[] = [];
    const slow = openEngine(database.store, (step) =>
      step === 'written' ? until(() => beats.length >= 3) : undefined,
    );
    const context = attemptOf({ heartbeat: () => beats.push(Date.now()) });
    await slow.work.copyBatch({ tenantId: world.tenantId, runId, transferId, batch: 0 }, context);
    await slow.close();
    expect(beats[2]! - beats[1]!).toBeLessThan(1_500);
  });
});

async function until(condition: () => boolean): Promise<void> {
  await untilAsync(async () => condition());
}

async function untilAsync(condition: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error('it did not come to that');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

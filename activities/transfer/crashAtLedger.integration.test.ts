import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import type { TestDatabase } from '../../test/servers/database.ts';
import { copyWhole } from '../../test/transfer/copyWhole.ts';
import type { LedgerOptions } from '../../test/transfer/ledgerProcess.ts';
import type { Engine, World } from '../../test/transfer/world.ts';
import { worldOfEachTest } from '../../test/transfer/worldOfEachTest.ts';
import { finishRun } from '../run.ts';

const ledgerProcess = fileURLToPath(new URL('../../test/transfer/ledgerProcess.ts', import.meta.url));
/** More than a transfer of two small files has. */
const mostTransactions = 40;

let database: TestDatabase;
let engine: Engine;
let world: World;
worldOfEachTest((opened) => {
  ({ database, engine, world } = opened);
});

const listed = () => database.asOwner('select path from file_set_item');

test('killed after the n-th transaction of a transfer, its plan and its end among them, for every n: what comes next brings each file whole and once, and nothing is left', async () => {
  const numbers = Array.from({ length: mostTransactions }, (_, index) => index + 1);
  const files = ['a.csv', 'b.csv'];
  for (const n of numbers) for (const file of files) await world.put({ [`${n}/${file}`]: `${file} of ${n}` });
  const transfers = [];
  for (const n of numbers) {
    const { tenantId, aliases: endpoints } = world;
    const runId = await world.newRun();
    const given = { from: `partner:/${n}/*`, to: `landing:/${n}/`, then: { move: `/done/${n}/` } };
    const plan = { tenantId, runId, step: 'copy', stepKey: 'steps[0]', endpoints, with: given };
    transfers.push({ plan, standAfter: n });
  }
  const { applicationUrl } = database;
  const words = JSON.stringify({ applicationUrl, leaseMs: 300, transfers } satisfies LedgerOptions);
  const child = spawn(process.execPath, [ledgerProcess, words], { stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  child.stdout.on('data', (text) => {
    said += text;
  });
  expect((await once(child, 'close'))[1]).toBe('SIGKILL');
  const { ended } = JSON.parse(said) as { ended: number[] };
  // Some had fewer transactions, and those before them were killed at each of theirs.
  expect(ended.length).toBeGreaterThan(0);
  expect(Math.min(...ended)).toBeGreaterThan(8);
  const arrived = await world.read(world.target);
  for (const [path, content] of Object.entries(arrived).filter(([path]) => !path.endsWith('.part')))
    expect(content).toBe(`${path.split('/')[2]} of ${path.split('/')[1]}`);

  const ends = await Promise.all(transfers.map(({ plan }) => copyWhole(engine, plan, 2)));
  for (const [index, end] of ends.entries())
    expect(end, `killed after ${index + 1}`).toMatchObject({ files: 2, failed: 0, firstFailure: null });
  const wanted = (folder: string) =>
    Object.fromEntries(numbers.flatMap((n) => files.map((file) => [`${folder}/${n}/${file}`, `${file} of ${n}`])));
  expect(await world.read(world.target)).toEqual(wanted(''));
  expect(await world.read(world.source)).toEqual(wanted('/done'));
  const published = (await world.events('delivery.published')).map(
    ({ data }) => (data.source as { path: string }).path,
  );
  expect(published.sort()).toEqual(Object.keys(wanted('')).sort());
  const ofTransfers = await world.events('transfer.completed');
  expect(ofTransfers).toHaveLength(numbers.length);
  expect(await database.asOwner('select from delivery_claim where delivered_at is null')).toEqual([]);
  // Those that died between listing and plan.
  expect(await listed()).not.toEqual([]);
  const end = { status: 'succeeded', error: null, outputs: null } as const;
  for (const { plan } of transfers) await finishRun(database.store, { ...plan, ...end });
  expect(await listed()).toEqual([]);
  expect(await database.asOwner(`select state from delivery where state <> 'settled'`)).toEqual([]);
}, 60_000);

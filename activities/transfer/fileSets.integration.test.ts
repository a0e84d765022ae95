import { utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import { fileOrders, type ListedFile, readFileSet } from '../../prisma/ledger.ts';
import type { Json } from '../../schema/plan.ts';
import type { TestDatabase } from '../../test/servers/database.ts';
import { attemptOf, type Engine, type World } from '../../test/transfer/world.ts';
import { worldOfEachTest } from '../../test/transfer/worldOfEachTest.ts';
import type { FilesInput } from './files.ts';
import { stageListing } from './stageListing.ts';

let database: TestDatabase;
let engine: Engine;
let world: World;
worldOfEachTest((opened) => {
  ({ database, engine, world } = opened);
});

async function list(given: Record<string, Json>, more: Partial<FilesInput> = {}) {
  const input = { tenantId: world.tenantId, stepKey: 'steps[0]', endpoints: world.aliases, with: given, ...more };
  return (await engine.work.listFiles({ ...input, runId: await world.newRun() }, attemptOf())).files;
}

function page(ref: string, after: number, limit: number) {
  return engine.work.fileSetPage({ tenantId: world.tenantId, ref, after, limit });
}

async function pathsOf(ref: string): Promise<string[]> {
  return (await page(ref, 0, 1_000)).map((file) => file.path);
}

describe('the order of a listing', () => {
  const times: Record<string, string> = {
    'a/z.csv': '2026-01-03T00:00:00Z',
    'a/B.csv': '2026-01-01T00:00:00Z',
    'b/a.csv': '2026-01-02T00:00:00Z',
    'b/é.csv': '2026-01-02T00:00:00Z',
  };
  const sizes: Record<string, number> = { 'a/z.csv': 10, 'a/B.csv': 9, 'b/a.csv': 100, 'b/é.csv': 9 };

  test.each([
    ['path', ['/a/B.csv', '/a/z.csv', '/b/a.csv', '/b/é.csv']],
    ['-path', ['/b/é.csv', '/b/a.csv', '/a/z.csv', '/a/B.csv']],
    ['name', ['/a/B.csv', '/b/a.csv', '/a/z.csv', '/b/é.csv']],
    ['-name', ['/b/é.csv', '/a/z.csv', '/b/a.csv', '/a/B.csv']],
    ['size', ['/a/B.csv', '/b/é.csv', '/a/z.csv', '/b/a.csv']],
    ['-size', ['/b/a.csv', '/a/z.csv', '/a/B.csv', '/b/é.csv']],
    ['modified', ['/a/B.csv', '/b/a.csv', '/b/é.csv', '/a/z.csv']],
    ['-modified', ['/a/z.csv', '/b/a.csv', '/b/é.csv', '/a/B.csv']],
  ])('by %s, ties by path', async (sort, expected) => {
    await world.put(Object.fromEntries(Object.entries(sizes).map(([name, size]) => [name, 'x'.repeat(size)])));
    for (const [name, time] of Object.entries(times))
      await utimes(join(world.source, name), new Date(time), new Date(time));
    const files = await list({ from: 'partner:/**', sort });
    expect(files).toMatchObject({ count: 4, bytes: 128 });
    expect(await pathsOf(files.ref)).toEqual(expected);
    expect(Object.keys(fileOrders)).toContain(sort);
  });

  test.each(['modified', '-modified'] as const)('by %s has files without a time last', async (order) => {
    const listed = [
      file('/unknown'),
      file('/new', '2026-02-01T00:00:00.000Z'),
      file('/old', '2026-01-01T00:00:00.000Z'),
    ];
    const setId = await stage([listed], order);
    expect((await pathsOf(setId)).at(-1)).toBe('/unknown');
  });

  test('that does not exist is named with those that do', async () => {
    await expect(list({ from: 'partner:/*', sort: 'colour' })).rejects.toMatchObject({
      kind: 'invalid',
      message: expect.stringMatching(/sort.*"colour".*-modified/),
    });
  });

  test('leaves one set behind, not the unsorted one too', async () => {
    await world.put({ 'b.csv': '', 'a.csv': '' });
    const before = await setsInLedger();
    await list({ from: 'partner:/*', sort: 'path' });
    expect(await setsInLedger()).toBe(before + 1);
  });
});

describe('the first rows', () => {
  test('come with the answer when they are asked for, in the order of the set', async () => {
    await world.put({ 'a.csv': '1', 'b.csv': '22', 'c.csv': '333' });
    const files = await list({ from: 'partner:/*', sort: '-size' }, { head: 2 });
    expect(files).toMatchObject({ count: 3, head: [{ name: 'c.csv', size: 3 }, { name: 'b.csv' }] });
    expect(files.head).toHaveLength(2);
    expect(files.head).toEqual(await page(files.ref, 0, 2));
  });

  test('stay in the ledger when nobody asks for them', async () => {
    await world.put({ 'a.csv': '1' });
    expect(await list({ from: 'partner:/*' })).not.toHaveProperty('head');
    expect(await list({ from: 'partner:/*' }, { head: 0 })).not.toHaveProperty('head');
  });

  test('are never more than a hundred', async () => {
    await world.put(Object.fromEntries(Array.from({ length: 130 }, (_, index) => [`${index}`, ''])));
    expect((await list({ from: 'partner:/*' }, { head: 1_000 })).head).toHaveLength(100);
  });

  test('of an empty listing are an empty list', async () => {
    await world.put({ 'a.csv': '1' });
    expect(await list({ from: 'partner:/*.txt' }, { head: 3 })).toMatchObject({ count: 0, head: [] });
  });
});

describe('the condition of a listing', () => {
  test('that fails for a file names the file', async () => {
    await world.put({ 'good.csv': '1', short: '2' });
    await expect(
      list({ from: 'partner:/*', where: 'file.name == "good.csv" || file.nmae == "x"' }),
    ).rejects.toMatchObject({
      kind: 'invalid',
      message: expect.stringMatching(/^`where` for \/short: .*nmae/),
      context: { path: '/short' },
    });
  });

  test('that gives no bool names the file, and leaves no rows behind', async () => {
    await world.put({ 'a.csv': '1' });
    const before = await setsInLedger();
    await expect(list({ from: 'partner:/*', where: 'file.size + 1' })).rejects.toMatchObject({
      message: expect.stringMatching(/\/a\.csv: .*not true or false/),
    });
    expect(await setsInLedger()).toBe(before);
  });
});

describe('a file set', () => {
  test('has each path once, the last seen, and no gaps between its positions', async () => {
    const listed = [file('/a'), file('/b'), { ...file('/a'), size: 7 }, file('/c'), file('/c'), file('/d')];
    const setId = await stage([listed], null);
    expect(await pathsOf(setId)).toEqual(['/b', '/a', '/c', '/d']);
    const rows = await rowsOf(setId);
    expect(rows.map((row) => row.ordinal)).toEqual([0, 1, 2, 3]);
    expect(rows[1]).toMatchObject({ path: '/a', size: 7 });
    expect((await page(setId, 2, 2)).map((row) => row.path)).toEqual(['/c', '/d']);
  });

  test('of 100,000 files is listed, sorted and paged in flat memory', { timeout: 120_000 }, async () => {
    const collect = garbageCollector();
    const samples: number[] = [];
    const sample = () => {
      collect();
      samples.push(process.memoryUsage().heapUsed);
    };
    const setId = await stage(manyPages(200, 500, sample), '-path');
    for (let after = 0; after < 100_000; after += 2_000) {
      expect((await page(setId, after, 2_000))[0]!.path).toBe(`/out/${String(99_999 - after).padStart(6, '0')}.csv`);
      if (after % 20_000 === 0) sample();
    }
    // Held at once, the rows would take over 15 MiB.
    const grownMiB = (Math.max(...samples) - samples[0]!) / 2 ** 20;
    expect(grownMiB).toBeLessThan(5);
    expect(await page(setId, 100_000, 10)).toEqual([]);
  });

  test('is read as fast at its end as at its beginning', async () => {
    const setId = await stage(
      manyPages(40, 500, () => undefined),
      null,
    );
    const plan = await database.asOwner<{ 'QUERY PLAN': string }>(
      `explain (analyze, costs off, timing off) select path from file_set_item
        where tenant_id = $1::uuid and set_id = $2::uuid and ordinal > 19000 order by ordinal limit 10`,
      [world.tenantId, setId],
    );
    const text = plan.map((row) => row['QUERY PLAN']).join('\n');
    expect(text).toMatch(/Index.* Scan using file_set_item_pkey/);
    expect(text).not.toMatch(/Sort|Seq Scan|Rows Removed/);
  });
});

function file(path: string, modified: string | null = null): ListedFile {
  return { path, size: 1, modified };
}

async function* manyPages(pages: number, rows: number, atEachTenth: () => void): AsyncIterable<ListedFile[]> {
  for (let nth = 0; nth < pages; nth++) {
    if (nth % 10 === 0) atEachTenth();
    yield Array.from({ length: rows }, (_, row) =>
      file(`/out/${String(nth * rows + row).padStart(6, '0')}.csv`, '2026-01-01T00:00:00.000Z'),
    );
  }
}

async function stage(
  pages: AsyncIterable<ListedFile[]> | ListedFile[][],
  order: Parameters<typeof stageListing>[1]['order'],
): Promise<string> {
  const set = { tenantId: world.tenantId, runId: await world.newRun(), endpoint: world.aliases.partner!, order };
  async function* given() {
    yield* pages;
  }
  return stageListing({ store: database.store }, set, given(), () => undefined);
}

function rowsOf(setId: string) {
  return database.store.sql(world.tenantId, (sql) =>
    readFileSet(sql, world.tenantId, { setId, after: -1, limit: 1_000 }),
  );
}

async function setsInLedger(): Promise<number> {
  const [row] = await database.asOwner<{ count: string }>(
    'select count(distinct set_id)::text as count from file_set_item',
  );
  return Number(row!.count);
}

function garbageCollector(): () => void {
  setFlagsFromString('--expose_gc');
  return runInNewContext('gc') as () => void;
}

import { afterAll, beforeAll, beforeEach } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../servers/database.ts';
import { type Engine, openEngine, openWorld, type World } from './world.ts';

export interface OpenedWorld {
  database: TestDatabase;
  engine: Engine;
  world: World;
}

/** For the tests of a file: one database, one engine, and for each test folders and endpoints of its own. `take` is called before each test. */
export function worldOfEachTest(take: (opened: OpenedWorld) => void): void {
  const removals: Array<() => Promise<void>> = [];
  let database: TestDatabase | undefined;
  let engine: Engine | undefined;

  beforeAll(async () => {
    database = await createTestDatabase();
    engine = openEngine(database.store);
  });
  beforeEach(async () => {
    const world = await openWorld(database!.store, database!.tenants.a, engine!);
    removals.push(world.remove);
    take({ database: database!, engine: engine!, world });
  });
  afterAll(async () => {
    await engine?.close();
    await Promise.all(removals.map((remove) => remove()));
    await database?.drop();
  });
}

import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { ErrorKind } from '../../schema/errors.ts';
import { createTestDatabase, type TestDatabase } from '../servers/database.ts';
import type { Direction, Shape, TcpProxy } from '../servers/proxy.ts';
import { type Engine, openEngine } from '../transfer/world.ts';
import { failureOf, localGround, type Partner, type Passage, planPassage, underWay } from './passage.ts';

const bytesPerSecond = 12 * 1024 * 1024;
/** The large file is on its way, and far from its end. */
const underWayBytes = 2 * 1024 * 1024;

interface Fault {
  words: string;
  kind: ErrorKind;
  happen(proxy: TcpProxy, towards: Direction): void;
}

const faults: Fault[] = [
  { words: 'is reset', kind: 'unavailable', happen: (proxy) => proxy.reset() },
  { words: 'falls silent', kind: 'timeout', happen: (proxy) => proxy.stall() },
  {
    words: 'is cut after N bytes',
    kind: 'unavailable',
    happen: (proxy, towards) => proxy.cutAfter(1_000_000, towards),
  },
  { words: 'is closed by the server only', kind: 'unavailable', happen: (proxy) => proxy.halfClose('client') },
  { words: 'is closed towards the server only', kind: 'unavailable', happen: (proxy) => proxy.halfClose('server') },
];

const shapes: Array<[string, Shape]> = [
  ['slow', { bytesPerSecond: 8 * 1024 * 1024 }],
  ['delivering in slices', { sliceBytes: 1009 }],
  ['a long way', { latencyMs: 40 }],
];

/** What a faulty line does to transfers from and to a partner: the whole engine, but for Temporal. */
export function describePassages(kind: string, start: () => Promise<Partner>): void {
  describe.each(['source', 'target'] as const)(`${kind} as the %s, when its connection`, (end) => {
    let database: TestDatabase;
    let engine: Engine;
    let partner: Partner;
    const passages: Passage[] = [];
    const towards: Direction = end === 'source' ? 'client' : 'server';
    beforeAll(async () => {
      [database, partner] = await Promise.all([createTestDatabase(), start()]);
      engine = openEngine(database.store);
    });
    afterEach(async () => {
      partner.proxy.heal();
      for (const passage of passages.splice(0)) await passage.remove();
    });
    afterAll(async () => {
      await engine?.close();
      await partner?.stop();
      await database?.drop();
    });

    async function plan(): Promise<Passage> {
      const [local, remote] = [await localGround(), await partner.ground()];
      const ends = end === 'source' ? { from: remote, to: local } : { from: local, to: remote };
      const passage = await planPassage(database, engine, ends);
      passages.push(passage);
      return passage;
    }

    for (const { words, kind, happen } of faults)
      test(`${words}: ${kind}, nothing half-published, and the next attempt delivers once`, async () => {
        const { proxy } = partner;
        const passage = await plan();
        proxy.shape({ bytesPerSecond });
        const already = proxy.carried()[towards];
        const attempt = passage.attempt();
        await underWay(attempt, () => proxy.carried()[towards] - already > underWayBytes);
        happen(proxy, towards);
        const error = await failureOf(attempt);
        expect(error.kind, error.message).toBe(kind);
        expect(error.scope).toBe('connection');
        if (kind !== 'timeout')
          expect(error.context.endpoint).toBe(passage.world.aliases[end === 'source' ? 'from' : 'to']);
        const large = (await passage.deliveries()).find((row) => row.path === '/large.bin')!;
        expect(large).toMatchObject({ state: 'planned', errorKind: kind });
        await passage.expectNothingPartial();
        proxy.heal();
        expect(await passage.attempt({ attempt: 2 })).toMatchObject({ files: passage.files.size, failed: 0 });
        await passage.finish();
        await passage.expectDelivered();
        if (partner.leftovers) expect(await partner.leftovers()).toEqual([]);
      });

    test.each(shapes)('is %s, only takes longer', async (_, shape) => {
      const passage = await plan();
      partner.proxy.shape(shape);
      expect(await passage.attempt()).toMatchObject({ files: passage.files.size, failed: 0 });
      await passage.finish();
      await passage.expectDelivered();
    });
  });
}

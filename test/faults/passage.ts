import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'vitest';
import { toApplicationFailure } from '../../activities/failure.ts';
import type { ActivityContext } from '../../activities/transfer/context.ts';
import type { BatchInput } from '../../activities/transfer/copyBatch.ts';
import { asWaybillError, errorKinds, type WaybillError } from '../../schema/errors.ts';
import type { Json } from '../../schema/plan.ts';
import type { TestDatabase } from '../servers/database.ts';
import type { TcpProxy } from '../servers/proxy.ts';
import { addEndpoint, attemptOf, type Engine, openWorld, patient, type World } from '../transfer/world.ts';

/** A place that files travel from or to, and where this machine finds them behind the connector's back. */
export interface Ground {
  folder: string;
  connector: string;
  config: Record<string, unknown>;
  secrets: Record<string, string>;
  /** Removes what was made for it. */
  remove(): Promise<void>;
}

/** A server behind a proxy; each ground is a place of its own on it. */
export interface Partner {
  proxy: TcpProxy;
  /** In a new folder of the server, or in that one of this machine. */
  ground(folder?: string): Promise<Ground>;
  /** What unfinished writes have left where no listing shows it. */
  leftovers?(): Promise<string[]>;
  stop(): Promise<void>;
}

/** A copy stands still for so long until it is given up. */
export const stallMs = 2_000;
/** From a fault to the end of the attempt: the patience, its heartbeat, and a busy machine. */
const deadlineMs = 12_000;

export interface Passage {
  world: World;
  from: Ground;
  to: Ground;
  /** What the source holds, by name, and what the target has to hold in the end. */
  files: ReadonlyMap<string, Buffer>;
  batch: BatchInput;
  /** One attempt at the whole transfer. */
  attempt(options?: Partial<ActivityContext>): ReturnType<Engine['work']['copyBatch']>;
  finish(): ReturnType<Engine['work']['finishTransfer']>;
  /** What `waybill endpoints sweep` does at the target, however young the unfinished writes are. */
  sweep(): Promise<void>;
  deliveries(): ReturnType<World['deliveries']>;
  /** Gives the endpoint at that end another configuration; its secrets stay. */
  change(end: 'from' | 'to', config: Record<string, unknown>): Promise<void>;
  /** Nothing is at the target under its final name that is not whole. */
  expectNothingPartial(): Promise<void>;
  /** The target holds every file whole, and nothing else. */
  expectArrived(): Promise<void>;
  /** Every file has arrived, once, and nothing is left of the way there. */
  expectDelivered(): Promise<void>;
  remove(): Promise<void>;
}

export async function localGround(given?: string): Promise<Ground> {
  const folder = given ?? (await mkdtemp(path.join(tmpdir(), 'waybill-ground-')));
  return {
    folder,
    connector: 'local',
    config: { root: folder },
    secrets: {},
    remove: () => removeUnlessGiven(folder, given),
  };
}

export async function removeUnlessGiven(folder: string, given: string | undefined): Promise<void> {
  if (given === undefined) await rm(folder, { recursive: true, force: true });
}

/** Files at `from`, planned to go to `to`; nothing has been copied yet. */
export async function planPassage(
  { store, tenants }: TestDatabase,
  engine: Engine,
  { from, to }: { from: Ground; to: Ground },
  given: Record<string, Json> = {},
  files: ReadonlyMap<string, Buffer> = someFiles(),
): Promise<Passage> {
  const world = await openWorld(store, tenants.a, engine);
  for (const [name, content] of files) await writeFile(path.join(from.folder, name), content);
  const name = path
    .basename(world.source.slice(0, -'/source'.length))
    .toLowerCase()
    .replace(/[^a-z0-9]/g, '-');
  const add = (end: 'from' | 'to', { connector, config, secrets }: Ground) =>
    addEndpoint(store, world.tenantId, `${name}-${end}`, connector, config, secrets);
  await add('from', from);
  await add('to', to);
  world.aliases.from = `${name}-from`;
  world.aliases.to = `${name}-to`;
  const runId = await world.newRun();
  const { transferId, batches } = await world.plan(runId, { from: 'from:/*', to: 'to:/', ...given });
  expect(batches).toBe(1);
  const ids = { tenantId: world.tenantId, runId, transferId };
  const terms = { retry: patient, stallMs };
  const expectArrived = async () => {
    const expected = new Map([...files].map(([name, content]) => [name, digest(content)]));
    expect(await contents(to.folder)).toEqual(expected);
  };
  return {
    world,
    from,
    to,
    files,
    batch: { ...ids, batch: 0 },
    attempt: (options) => engine.work.copyBatch({ ...ids, batch: 0 }, attemptOf({ terms, ...options })),
    finish: () => engine.work.finishTransfer({ ...ids, status: 'succeeded' }),
    async sweep() {
      const ofAnyAgeMs = -60_000;
      await engine.endpoints.use(world.tenantId, world.aliases.to!, (connector) =>
        connector.sweep!('/', ofAnyAgeMs, new AbortController().signal),
      );
    },
    deliveries: () => world.deliveries(runId),
    change: (end, config) => add(end, { ...(end === 'from' ? from : to), config, secrets: {} }),
    async expectNothingPartial() {
      const there = await contents(to.folder);
      for (const [name, content] of files) expect([undefined, digest(content)]).toContain(there.get(name));
    },
    expectArrived,
    async expectDelivered() {
      await expectArrived();
      const rows = await world.deliveries(runId);
      expect(rows.map(({ state }) => state)).toEqual(rows.map(() => 'settled'));
      const published = (await world.events('delivery.published')).map(({ deliveryId }) => deliveryId);
      for (const { id } of rows) expect(published.filter((delivery) => delivery === id)).toHaveLength(1);
      const [claims] = await store.sql(world.tenantId, (sql) =>
        sql.query<{ open: number; remembered: number }>(
          `select count(*) filter (where delivered_at is null)::int as open,
                  count(*) filter (where delivered_at is not null)::int as remembered from delivery_claim
            where delivery_id in (select id from delivery where run_id = $1::uuid)`,
          [runId],
        ),
      );
      expect(claims).toEqual({ open: 0, remembered: rows.length });
    },
    async remove() {
      await world.remove();
      for (const ground of [from, to]) await ground.remove();
    },
  };
}

/** One that takes a while on its way, one that does not, and one without a byte. */
export function someFiles(): Map<string, Buffer> {
  return new Map([
    ['empty.bin', Buffer.alloc(0)],
    ['large.bin', randomBytes(10 * 1024 * 1024)],
    ['small.txt', Buffer.from('small')],
  ]);
}

/** The failure of an attempt, which must come in time and say what to do. */
export async function failureOf(attempt: Promise<unknown>, sinceMs = performance.now()): Promise<WaybillError> {
  const thrown = await attempt.then(
    (answer) => expect.fail(`the attempt succeeded: ${JSON.stringify(answer)}`),
    (error: unknown) => error,
  );
  const error = asWaybillError(thrown);
  expect(performance.now() - sinceMs, error.message).toBeLessThan(deadlineMs);
  const { message } = toApplicationFailure(error, { policy: patient, attempt: 1, startedAtMs: Date.now() });
  const advice = error.context.advice ?? errorKinds[error.kind].advice;
  expect(advice).toMatch(/^[A-Z].+\.$/);
  expect(message).toContain(advice);
  return error;
}

/** Until it is so, while the attempt still goes on. */
export async function underWay(attempt: Promise<unknown>, isSo: () => boolean): Promise<void> {
  let ended: unknown;
  attempt.then(
    (answer) => {
      ended = answer;
    },
    (error: unknown) => {
      ended = error;
    },
  );
  await expect
    .poll(() => isSo() || (ended !== undefined && expect.fail(`the attempt ended: ${JSON.stringify(ended)}`)), {
      timeout: 20_000,
      interval: 5,
    })
    .toBe(true);
}

/** SHA-256 of each file below the folder, by its path; what servers keep for themselves is left out only when it is empty. */
export async function contents(folder: string): Promise<Map<string, string>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => path.join(entry.parentPath, entry.name));
  const hashes = await Promise.all(
    files.sort().map(async (file) => [path.relative(folder, file), digest(await readFile(file))] as const),
  );
  return new Map(hashes);
}

function digest(content: Buffer): string {
  return createHash('sha256').update(content).digest('hex');
}

import { readdir } from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../servers/database.ts';
import { mountSmall, type SmallFilesystem, whyNoFilesystem } from '../servers/filesystem.ts';
import { type Engine, openEngine } from '../transfer/world.ts';
import { contents, failureOf, type Ground, localGround, type Partner, type Passage, planPassage } from './passage.ts';
import { startS3Partner } from './s3Partner.ts';
import { startSftpPartner } from './sftpPartner.ts';

const impossible = await whyNoFilesystem();
let database: TestDatabase;
let engine: Engine;
let partner: Partner;
let store: Partner;
const disks: SmallFilesystem[] = [];
const passages: Passage[] = [];

beforeAll(async () => {
  [database, partner, store] = await Promise.all([createTestDatabase(), startSftpPartner(), startS3Partner()]);
  engine = openEngine(database.store);
});
afterEach(async () => {
  for (const passage of passages.splice(0)) await passage.remove();
  for (const disk of disks.splice(0)) await disk.remove();
});
afterAll(async () => {
  await engine?.close();
  await partner?.stop();
  await store?.stop();
  await database?.drop();
});

async function mount(size: string): Promise<SmallFilesystem> {
  const disk = await mountSmall(size);
  disks.push(disk);
  return disk;
}

async function plan(ends: { from: Ground; to: Ground }, given = {}): Promise<Passage> {
  const passage = await planPassage(database, engine, ends, given);
  passages.push(passage);
  return passage;
}

const grounds: Array<[string, (folder: string) => Promise<Ground>]> = [
  ['a local target', localGround],
  ['a target behind an SFTP server', (folder) => partner.ground(folder)],
];
// Of a read-only disk versitygw says no more than that it failed: that is no promise of ours.
const anyGrounds = [
  ...grounds,
  ['a target behind an S3 server', (folder) => store.ground(folder)] as (typeof grounds)[0],
];

describe.skipIf(impossible)(impossible ? `disks (skipped: ${impossible})` : 'disks', () => {
  test.each(anyGrounds)(
    '%s that is full: disk-full, room is given back, and what is left travels later',
    async (_, groundOf) => {
      const disk = await mount('6m');
      const passage = await plan({ from: await localGround(), to: await groundOf(disk.folder) });
      const error = await failureOf(passage.attempt());
      expect(error).toMatchObject({
        kind: 'disk-full',
        scope: 'endpoint',
        context: { endpoint: passage.world.aliases.to },
      });
      const large = (await passage.deliveries()).find(({ path }) => path === '/large.bin')!;
      expect(large).toMatchObject({ state: 'planned', errorKind: 'disk-full' });
      expect(large.errorMessage).toContain('no space left');
      await passage.expectNothingPartial();
      // Others write to that disk too: a half file that waits for room would keep it full.
      expect((await readdir(disk.folder)).filter((name) => name.startsWith('.waybill-'))).toEqual([]);
      await disk.grow('64m');
      expect(await passage.attempt({ attempt: 2 })).toMatchObject({ files: passage.files.size, failed: 0 });
      await passage.finish();
      await passage.expectDelivered();
    },
  );

  test.each(grounds)(
    '%s that is read-only: forbidden for every file at once, and a later run delivers',
    async (_, groundOf) => {
      const disk = await mount('64m');
      const passage = await plan({ from: await localGround(), to: await groundOf(disk.folder) });
      await disk.makeReadOnly();
      expect(await passage.attempt()).toMatchObject({ files: 0, failed: passage.files.size });
      const { firstFailure } = await passage.finish();
      expect(firstFailure).toMatchObject({ kind: 'forbidden', endpoint: passage.world.aliases.to });
      expect(firstFailure!.message).toContain('read-only');
      expect(await contents(disk.folder)).toEqual(new Map());
      await disk.makeWritable();
      expect(await passage.world.copy({ from: 'from:/*', to: 'to:/' })).toMatchObject({
        files: passage.files.size,
        failed: 0,
      });
      await passage.expectArrived();
    },
  );

  test.each(grounds.map(([words, groundOf]) => [words.replace('target', 'source'), groundOf] as const))(
    '%s that is read-only: the files arrive, and that they could not be taken away is said',
    async (_, groundOf) => {
      const disk = await mount('64m');
      const passage = await plan(
        { from: await groundOf(disk.folder), to: await localGround() },
        { then: { delete: true } },
      );
      await disk.makeReadOnly();
      await passage.attempt();
      await passage.expectArrived();
      for (const row of await passage.deliveries()) {
        expect(row).toMatchObject({ state: 'published', errorKind: 'forbidden' });
        expect(row.errorMessage).toContain('read-only');
      }
    },
  );
});

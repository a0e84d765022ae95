import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../servers/database.ts';
import { type Engine, openEngine } from '../transfer/world.ts';
import { localGround, type Partner, planPassage } from './passage.ts';
import { startSftpPartner } from './sftpPartner.ts';

const run = promisify(execFile);
const fewDescriptors = fileURLToPath(new URL('fewDescriptors.ts', import.meta.url));
const isPossible = process.platform === 'linux';
let database: TestDatabase;
let engine: Engine;
let partner: Partner;

beforeAll(async () => {
  [database, partner] = await Promise.all([createTestDatabase(), startSftpPartner()]);
  engine = openEngine(database.store);
});
afterAll(async () => {
  await engine?.close();
  await partner?.stop();
  await database?.drop();
});

const files = new Map(Array.from({ length: 60 }, (_, index) => [`${index}.txt`, Buffer.from(`file ${index}`)]));
const local = async () => ({ from: await localGround(), to: await localGround() });
/** As many connections to PostgreSQL as one batch can ever use: what is short is short of something else. */
const connections = 20;
const ways = [
  ['files', { connections, spare: 4 }, local],
  ['a connection', { connections, spare: 0 }, async () => ({ from: await partner.ground(), to: await localGround() })],
  ['the database', { connections: 0, spare: -1_000 }, local],
] as const;

test.skipIf(!isPossible).each(ways)(
  'a worker that has no descriptor left for %s says which limit to raise, and the next attempt loses nothing',
  async (_, descriptors, ends) => {
    const passage = await planPassage(database, engine, await ends(), {}, files);
    try {
      const given = { applicationUrl: database.applicationUrl, batch: passage.batch, ...descriptors };
      const { stdout } = await run(process.execPath, [fewDescriptors, JSON.stringify(given)]);
      const said = JSON.parse(stdout);
      expect(said, stdout).toMatchObject({ kind: 'unavailable', scope: 'connection' });
      expect(said.message).toContain('too many open files in the worker');
      expect(said.message).toContain('limit of open files');
      await passage.expectNothingPartial();
      expect(await passage.attempt({ attempt: 2 })).toMatchObject({ files: files.size, failed: 0 });
      await passage.finish();
      await passage.expectDelivered();
    } finally {
      await passage.remove();
    }
  },
);

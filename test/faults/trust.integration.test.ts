import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../servers/database.ts';
import { type Engine, openEngine } from '../transfer/world.ts';
import { contents, failureOf, localGround, type Partner, type Passage, planPassage } from './passage.ts';
import { startSftpPartner } from './sftpPartner.ts';

let database: TestDatabase;
let engine: Engine;
let partner: Partner;
const passages: Passage[] = [];

beforeAll(async () => {
  [database, partner] = await Promise.all([createTestDatabase(), startSftpPartner()]);
  engine = openEngine(database.store);
});
afterEach(async () => {
  for (const passage of passages.splice(0)) await passage.remove();
});
afterAll(async () => {
  await engine?.close();
  await partner?.stop();
  await database?.drop();
});

const changes = [
  ['no longer lets the account in', { username: 'nobody-here' }, 'refuses the sign-in of nobody-here'],
  ['shows another host key', { hostKeys: [`SHA256:${'A'.repeat(43)}`] }, `expected SHA256:${'A'.repeat(43)}`],
] as const;

test.each(changes.flatMap((change) => [['source', ...change] as const, ['target', ...change] as const]))(
  'an SFTP server that is the %s and %s: unauthenticated, nothing sent, and delivered once that is put right',
  async (end, _, change, says) => {
    const [local, remote] = [await localGround(), await partner.ground()];
    const ends = end === 'source' ? { from: remote, to: local } : { from: local, to: remote };
    const passage = await planPassage(database, engine, ends);
    passages.push(passage);
    const alias = end === 'source' ? 'from' : 'to';
    await passage.change(alias, { ...remote.config, ...change });
    const error = await failureOf(passage.attempt());
    expect(error).toMatchObject({
      kind: 'unauthenticated',
      permanent: true,
      context: { endpoint: passage.world.aliases[alias] },
    });
    expect(error.message).toContain(says);
    expect((await passage.deliveries()).map(({ state }) => state)).toEqual(['planned', 'planned', 'planned']);
    expect(await contents(passage.to.folder)).toEqual(new Map());
    await passage.change(alias, remote.config);
    expect(await passage.attempt({ attempt: 2 })).toMatchObject({ files: passage.files.size, failed: 0 });
    await passage.finish();
    await passage.expectDelivered();
  },
);

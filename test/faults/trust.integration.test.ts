import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../servers/database.ts';
import { type Engine, openEngine } from '../transfer/world.ts';
import { startExpired } from './expired.ts';
import { contents, failureOf, type Ground, localGround, type Partner, type Passage, planPassage } from './passage.ts';
import { startS3Partner } from './s3Partner.ts';
import { startSftpPartner } from './sftpPartner.ts';

let database: TestDatabase;
let engine: Engine;
let partner: Partner;
let store: Partner;
let expired: Awaited<ReturnType<typeof startExpired>>;
const passages: Passage[] = [];

beforeAll(async () => {
  [database, partner, store, expired] = await Promise.all([
    createTestDatabase(),
    startSftpPartner(),
    startS3Partner(),
    startExpired(),
  ]);
  engine = openEngine(database.store);
});
afterEach(async () => {
  for (const passage of passages.splice(0)) await passage.remove();
});
afterAll(async () => {
  await engine?.close();
  await partner?.stop();
  await store?.stop();
  await expired?.stop();
  await database?.drop();
});

interface Case {
  words: string;
  remote(): Promise<Ground>;
  change(): Record<string, unknown>;
  /** What the message has to say, given where the endpoint really is. */
  says(there: Ground): string[];
}

const cases: Case[] = [
  {
    words: 'an SFTP server that no longer lets the account in',
    remote: () => partner.ground(),
    change: () => ({ username: 'nobody-here' }),
    says: () => ['refuses the sign-in of nobody-here'],
  },
  {
    words: 'an SFTP server that shows another host key',
    remote: () => partner.ground(),
    change: () => ({ hostKeys: [`SHA256:${'A'.repeat(43)}`] }),
    says: ({ config }) => [`expected SHA256:${'A'.repeat(43)}`, `got ${(config.hostKeys as string[])[0]}`],
  },
  {
    words: 'an S3 server that no longer knows the key',
    remote: () => s3Ground(),
    change: () => ({ accessKeyId: 'nobody-here' }),
    says: () => ['accessKeyId'],
  },
  {
    words: 'an S3 server whose certificate has expired',
    remote: () => s3Ground(),
    change: () => ({ endpoint: `https://127.0.0.1:${expired.port}` }),
    says: () => ['CERT_HAS_EXPIRED'],
  },
];

async function s3Ground(): Promise<Ground> {
  const ground = await store.ground();
  return { ...ground, secrets: { ...ground.secrets, ca: expired.ca } };
}

test.each(cases.flatMap((one) => (['from', 'to'] as const).map((end) => [one.words, end, one] as const)))(
  '%s, as `%s`: unauthenticated, nothing sent, and delivered once that is put right',
  async (_, end, { remote, change, says }) => {
    const [here, there] = [await localGround(), await remote()];
    const passage = await planPassage(
      database,
      engine,
      end === 'from' ? { from: there, to: here } : { from: here, to: there },
    );
    passages.push(passage);
    await passage.change(end, { ...there.config, ...change() });
    const error = await failureOf(passage.attempt());
    const endpoint = passage.world.aliases[end];
    expect(error).toMatchObject({ kind: 'unauthenticated', permanent: true, context: { endpoint } });
    for (const words of says(there)) expect(error.message).toContain(words);
    // A small object goes out with its commit: until then it is verified, and not published.
    for (const { state } of await passage.deliveries()) expect(['planned', 'verified']).toContain(state);
    expect(await contents(passage.to.folder)).toEqual(new Map());
    await passage.change(end, there.config);
    expect(await passage.attempt({ attempt: 2 })).toMatchObject({ files: passage.files.size, failed: 0 });
    await passage.finish();
    await passage.expectDelivered();
  },
);

import { afterAll, beforeAll, expect, test } from 'vitest';
import { waybill } from '../test/commandLine.ts';
import { type SignIns, startSignIns } from '../test/servers/signIns.ts';

let signIns: SignIns;
beforeAll(async () => {
  signIns = await startSignIns();
});
afterAll(() => signIns?.api.close());

async function run(words: string[], key = signIns.api.keys.a) {
  const environment = { WAYBILL_URL: signIns.api.url, WAYBILL_API_KEY: key };
  const { code, stdout } = await waybill(['sessions', ...words, '--json'], { environment });
  return { code, answer: stdout === '' ? undefined : JSON.parse(stdout) };
}

test('sessions list shows who is signed in, of one user when asked, and close ends one by the id of its row', {
  timeout: 60_000,
}, async () => {
  const { sessionId } = await signIns.openImmutable({ userName: 'ben', clientVersion: 'AcmeDrop 4.2' });
  await signIns.openImmutable({ userName: 'anna' });
  const { items } = (await run(['list', '--user', 'BEN'])).answer;
  expect(items).toMatchObject([
    { principal: { name: 'ben' }, method: 'openImmutable', clientVersion: 'AcmeDrop 4.2', endedAt: null },
  ]);
  expect((await run(['list'])).answer.items).toHaveLength(2);
  // An operator sees sessions and ends none; a session is a credential of the command line too.
  expect((await run(['close', items[0].id], sessionId)).code).toBe(4);
  expect((await run(['close', items[0].id])).answer.session).toMatchObject({ endReason: 'closed by an operator' });
  expect(await signIns.codeOf(sessionId)).toBe('401 SESSION_ENDED');
  expect((await run(['close', 'ses_nonsense'])).code).toBe(1);
});

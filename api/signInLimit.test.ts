import { expect, test } from 'vitest';
import { WaybillError } from '../schema/errors.ts';
import { limits } from './limits.ts';
import { createSignInLimit, type SignInAttempt } from './signInLimit.ts';

const tenantId = '00000000-0000-0000-0000-000000000001';
const attempt: SignInAttempt = { method: 'open', tenantId, address: '192.0.2.1', user: 'anna' };
const tooMany = { kind: 'rate-limited', context: { retryAfterMs: expect.any(Number) } };
const refused = new WaybillError('unauthenticated', 'refused');

async function fail(limit: ReturnType<typeof createSignInLimit>, more: Partial<SignInAttempt>): Promise<void> {
  await expect(limit({ ...attempt, ...more }, () => Promise.reject(refused))).rejects.toBe(refused);
}

test('a user is the same one in any case of the name, from wherever the attempts come', async () => {
  const limit = createSignInLimit();
  for (let failed = 0; failed < limits.failedSignIns; failed++)
    await fail(limit, { user: failed % 2 === 0 ? 'Anna' : 'aNNA', address: `192.0.2.${failed}` });
  let looked = false;
  const look = async () => {
    looked = true;
  };
  await expect(limit({ ...attempt, user: 'ANNA', address: '198.51.100.1' }, look)).rejects.toMatchObject(tooMany);
  expect(looked).toBe(false);
  await limit({ ...attempt, user: 'ben', address: '198.51.100.1' }, look);
  // Of the same name in another tenant it is another user.
  await limit({ ...attempt, tenantId: tenantId.replace('1', '2'), address: '198.51.100.1' }, look);
});

test('an address is its network, whatever names it tries; once it is refused, nothing is kept of whom it names', async () => {
  const limit = createSignInLimit();
  for (let failed = 0; failed < limits.failedSignIns; failed++)
    await fail(limit, { user: `name ${failed}`, address: `2001:db8::${failed}` });
  const given = async () => undefined;
  for (let more = 0; more <= limits.signIns; more++)
    await expect(limit({ ...attempt, address: '2001:db8::ffff:1' }, given)).rejects.toMatchObject(tooMany);
  // Nobody shuts a user out by naming them.
  await limit({ ...attempt, address: '2001:db8:0:1::1' }, given);
});

test('what fails because a part is away counts as no failure', async () => {
  const limit = createSignInLimit();
  const away = new WaybillError('unavailable', 'away');
  for (let failed = 0; failed < 2 * limits.failedSignIns; failed++)
    await expect(limit(attempt, () => Promise.reject(away))).rejects.toBe(away);
});

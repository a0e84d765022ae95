import { afterAll, beforeAll, expect, test } from 'vitest';
import { totpCode } from '../identity/totp.ts';
import { facts, password, type SignIns, startSignIns } from '../test/servers/signIns.ts';

let signIns: SignIns;
beforeAll(async () => {
  signIns = await startSignIns();
});
afterAll(() => signIns?.api.close());

/** Enrols anna, and gives the code of this half minute, which can be used again. */
async function enrol(): Promise<() => Promise<string>> {
  const { sessionId } = await signIns.openImmutable();
  const { body } = await signIns.api.graphql(
    sessionId,
    'mutation($input: EnrolAuthenticatorInput!) { enrolAuthenticator(input: $input) { ... on EnrolAuthenticatorPayload { uri } } }',
    { input: { currentPassword: password } },
  );
  const secret = new URL(body.data.enrolAuthenticator.uri).searchParams.get('secret')!;
  return async () => {
    await signIns.api.database.asOwner('update principal_password set totp_last_step = null');
    return totpCode(secret, Math.floor(Date.now() / 30_000));
  };
}

test('who has an authenticator signs in with its code, by each way that takes a password, and without it as little as with a wrong password', async () => {
  const code = await enrol();
  const byPassword = { userName: 'anna', password, ...facts };
  const wrong = await signIns.open({ password: 'no-password-of-hers' });
  expect(wrong).toMatchObject({ __typename: 'SignInRefusedError', code: 'SIGN_IN_REFUSED' });
  // The first sign-in with a code makes the authenticator count.
  expect(await signIns.open({ oneTimeCode: await code() })).toHaveProperty('sessionId');
  for (const way of ['open', 'openImmutable', 'openImmutableUserString']) {
    for (const oneTimeCode of [undefined, null, '000000x'])
      expect(await signIns.call(way, { ...byPassword, ...(oneTimeCode !== undefined && { oneTimeCode }) })).toEqual(
        wrong,
      );
    expect(await signIns.call(way, { ...byPassword, oneTimeCode: await code() }), way).toHaveProperty('sessionId');
  }
  expect((await signIns.denials()).map(({ reason }) => reason)).toEqual(['wrong', ...Array(9).fill('second-factor')]);
});

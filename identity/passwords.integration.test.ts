import { hash } from '@node-rs/argon2';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { testKeys } from '../test/keys.ts';
import { createTestDatabase, type TestDatabase } from '../test/servers/database.ts';
import { giveOwnerPassword } from './firstRun.ts';
import { createPasswordHashing, type PasswordHashing } from './passwordHashing.ts';
import { createPasswordCheck, type PasswordCheck, totpSecretName, wrongInARow } from './passwords.ts';
import type { SecretBox } from './secrets.ts';
import { newTotpSecret, totpCode } from './totp.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
  ({ secretBox } = testKeys(database.store));
  check = createPasswordCheck({ secretBox, hashing });
});
afterAll(() => database.drop());

const password = 'correct horse battery';
const refused = { kind: 'unauthenticated', message: 'the user name or the password is not right' };
let secretBox: SecretBox;
let check: PasswordCheck;
const computed = { hashes: 0, comparisons: 0 };
/** The real one, with its calls counted. */
const hashing = counted(createPasswordHashing());

function counted(real: PasswordHashing): PasswordHashing {
  return {
    ...real,
    hash: (text) => {
      computed.hashes++;
      return real.hash(text);
    },
    matches: (stored, text) => {
      computed.comparisons++;
      return real.matches(stored, text);
    },
  };
}

async function addUser(name: string, stored: { hash?: string | null; oneTime?: boolean } = {}): Promise<string> {
  const { tenantId } = database.tenants.a;
  const hash = stored.hash === undefined ? await hashing.hash(password) : stored.hash;
  return database.store.sql(tenantId, async (sql) => {
    const [user] = await sql.query<{ id: string }>(
      `insert into principal (tenant_id, kind, name, role) values ($1::uuid, 'user', $2::text, 'operator') returning id`,
      [tenantId, name],
    );
    if (hash !== null)
      await sql.query(
        `insert into principal_password (tenant_id, principal_id, hash, one_time) values ($1::uuid, $2::uuid, $3::text, $4::boolean)`,
        [tenantId, user!.id, hash, stored.oneTime ?? false],
      );
    return user!.id;
  });
}

const prove = (userName: string, given = password, more: { oneTimeCode?: string; address?: string } = {}) =>
  check.prove(database.store, database.tenants.a.tenantId, { userName, password: given, ...more });
const reasonOf = async (attempt: Promise<unknown>) => {
  const error = await attempt.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  expect(error).toMatchObject(refused);
  return (error as { context: { reason: string } }).context.reason;
};
const rowOf = async (principalId: string) =>
  (
    await database.asOwner<{ failures: number; hash: string; seconds: string | null; totp_since: Date | null }>(
      `select failures, hash, totp_since, ceil(extract(epoch from locked_until - now())) as seconds from principal_password where principal_id = $1`,
      [principalId],
    )
  )[0]!;

describe('a password', () => {
  test('proves its user, whatever the case of the name', async () => {
    const principalId = await addUser('Jane.Doe');
    const proven = { principalId, userNumber: expect.any(Number), name: 'Jane.Doe', role: 'operator' };
    for (const name of ['Jane.Doe', 'jane.doe', 'JANE.DOE']) expect(await prove(name)).toEqual(proven);
  });

  test('of another tenant proves nobody', async () => {
    await addUser('only-in-a');
    const { tenantId } = database.tenants.b;
    const attempt = check.prove(database.store, tenantId, { userName: 'only-in-a', password });
    expect(await reasonOf(attempt)).toBe('unknown');
  });

  test('that is wrong, of nobody, of a locked, a disabled and a user without one is refused in the same words, at the cost of one hash', async () => {
    await addUser('wrong');
    await addUser('without', { hash: null });
    const locked = await addUser('locked');
    await database.asOwner(
      `update principal_password set failures = 10, locked_until = now() + interval '1 hour' where principal_id = $1`,
      [locked],
    );
    const disabled = await addUser('disabled');
    await database.asOwner('update principal set disabled_at = now() where id = $1', [disabled]);
    const attempts: Array<[reason: string, name: string, given: string]> = [
      ['wrong', 'wrong', 'something else'],
      ['unknown', 'nobody-at-all', password],
      ['unknown', 'DOMAIN\\wrong', password],
      ['unknown', 'o%', password],
      ['wrong', 'without', password],
      ['locked', 'locked', password],
      ['disabled', 'disabled', password],
    ];
    for (const [reason, name, given] of attempts) {
      const before = { ...computed };
      expect(await reasonOf(prove(name, given)), name).toBe(reason);
      expect(computed, name).toEqual({ ...before, comparisons: before.comparisons + 1 });
    }
    expect((await rowOf(locked)).failures).toBe(10);
  });

  test('of a service account proves nobody: only users sign in', async () => {
    const id = await addUser('svc-signs-in');
    await database.asOwner(`update principal set kind = 'service' where id = $1`, [id]);
    expect(await reasonOf(prove('svc-signs-in'))).toBe('unknown');
  });

  test.each<[string, { userName?: string; password?: string; oneTimeCode?: string }, string]>([
    ['an empty password', { password: '' }, 'password'],
    ['one of 1,025 characters', { password: 'x'.repeat(1_025) }, 'password'],
    ['one of 10 MB', { password: 'x'.repeat(10_000_000) }, 'password'],
    ['one with NUL', { password: 'correct\0horse' }, 'password'],
    ['one with half a character', { password: 'correct horse \ud83d' }, 'password'],
    ['an empty name', { userName: '' }, 'userName'],
    ['a name with NUL', { userName: 'jane\0' }, 'userName'],
    ['a name with a line break', { userName: 'jane\nowner' }, 'userName'],
    ['a name with escape', { userName: 'jane\u001b[2J' }, 'userName'],
    ['a name of 256 characters', { userName: 'j'.repeat(256) }, 'userName'],
    ['a code with a control character', { oneTimeCode: '12345\u0007' }, 'oneTimeCode'],
    ['a code of 11 characters', { oneTimeCode: '12345678901' }, 'oneTimeCode'],
  ])('%s is refused before anything is hashed', async (_, given, field) => {
    const before = { ...computed };
    const attempt = { userName: 'jane', password, ...given };
    const answer = check.prove(database.store, database.tenants.a.tenantId, attempt);
    await expect(answer).rejects.toMatchObject({ kind: 'invalid', context: { field } });
    expect(computed).toEqual(before);
  });

  test('whose hash was made with other parameters still counts, and is stored under those of today', async () => {
    const old = await hash(password, { memoryCost: 8_192, timeCost: 1, parallelism: 1 });
    const id = await addUser('renewed', { hash: old });
    await prove('renewed');
    const { hash: renewed } = await rowOf(id);
    expect(renewed).toMatch(/m=19456,t=2,p=1/);
    await prove('renewed');
    expect((await rowOf(id)).hash).toBe(renewed);
  });
});

describe('of many who come at once', () => {
  test('those with the same name and password cost one hash, and each is let in', async () => {
    await addUser('crowd');
    const before = { ...computed };
    const names = Array.from({ length: 300 }, (_, index) => (index % 2 === 0 ? 'crowd' : 'CROWD'));
    for (const { name } of await Promise.all(names.map((name) => prove(name)))) expect(name).toBe('crowd');
    expect(computed).toEqual({ ...before, comparisons: before.comparisons + 1 });
  });

  test('each wrong one counts, and the password of another user or tenant is another one', async () => {
    const id = await addUser('crowded-out');
    await addUser('beside');
    const before = { ...computed };
    const wrong = Array.from({ length: wrongInARow }, () => reasonOf(prove('crowded-out', 'wrong for both')));
    const { tenantId } = database.tenants.b;
    const elsewhere = check.prove(database.store, tenantId, { userName: 'beside', password: 'wrong for both' });
    const reasons = await Promise.all([...wrong, reasonOf(prove('beside', 'wrong for both')), reasonOf(elsewhere)]);
    expect(reasons).toEqual([...wrong.map(() => 'wrong'), 'wrong', 'unknown']);
    expect(computed.comparisons).toBe(before.comparisons + 3);
    expect((await rowOf(id)).failures).toBe(wrongInARow);
  });

  test('none is refused because another one has renewed the hash', async () => {
    await addUser('renewed-at-once', {
      hash: await hash(password, { memoryCost: 8_192, timeCost: 1, parallelism: 1 }),
    });
    // Two processes, which share no work: both have compared before either has renewed.
    const both = Promise.withResolvers<void>();
    let compared = 0;
    const held: PasswordHashing = {
      ...hashing,
      matches: async (stored, text) => {
        const isRight = await hashing.matches(stored, text);
        if (++compared === 2) both.resolve();
        await both.promise;
        return isRight;
      },
    };
    const checks = [1, 2].map(() => createPasswordCheck({ secretBox, hashing: held }));
    const attempt = { userName: 'renewed-at-once', password };
    const proven = await Promise.all(
      checks.map((one) => one.prove(database.store, database.tenants.a.tenantId, attempt)),
    );
    for (const { name } of proven) expect(name).toBe('renewed-at-once');
  });
});

describe('the lock-out', () => {
  test('begins with the tenth wrong password in a row, with one event, and the right one is not looked at either', async () => {
    const id = await addUser('guessed');
    for (let wrong = 1; wrong < wrongInARow; wrong++)
      expect(await reasonOf(prove('guessed', `guess ${wrong}`))).toBe('wrong');
    expect(await rowOf(id)).toMatchObject({ failures: wrongInARow - 1, seconds: null });
    await reasonOf(prove('guessed', 'the last guess', { address: '192.0.2.1' }));
    expect(await reasonOf(prove('guessed'))).toBe('locked');
    const events = await database.asOwner<{ data: object }>(
      `select data, outcome from audit_event where type = 'user.locked' and data->>'user' = 'guessed'`,
    );
    expect(events).toEqual([
      {
        outcome: 'failure',
        data: { user: 'guessed', failures: wrongInARow, lockedUntil: expect.any(String), address: '192.0.2.1' },
      },
    ]);
  });

  test('takes a minute, twice as long with each wrong one after it, and an hour at most', async () => {
    const id = await addUser('patient');
    const waits: number[] = [];
    await database.asOwner('update principal_password set failures = 9 where principal_id = $1', [id]);
    for (let lock = 0; lock < 9; lock++) {
      await reasonOf(prove('patient', 'wrong'));
      waits.push(Number((await rowOf(id)).seconds));
      await database.asOwner(`update principal_password set locked_until = now() where principal_id = $1`, [id]);
    }
    expect(waits).toEqual([60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]);
    await prove('patient');
    expect(await rowOf(id)).toMatchObject({ failures: 0, seconds: null });
  });

  test('is not got around by asking at once: a right one that was compared before the tenth wrong one is refused after it', async () => {
    const id = await addUser('rushed');
    await database.asOwner('update principal_password set failures = 9 where principal_id = $1', [id]);
    const [compared, judged] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const held: PasswordHashing = {
      ...hashing,
      matches: async (stored, text) => {
        const isRight = await hashing.matches(stored, text);
        compared.resolve();
        await judged.promise;
        return isRight;
      },
    };
    const right = createPasswordCheck({ secretBox, hashing: held }).prove(database.store, database.tenants.a.tenantId, {
      userName: 'rushed',
      password,
    });
    await compared.promise;
    expect(await reasonOf(prove('rushed', 'the tenth wrong one'))).toBe('wrong');
    judged.resolve();
    expect(await reasonOf(right)).toBe('locked');
  });
});

describe('an authenticator', () => {
  async function enrol(name: string, confirmed: boolean): Promise<{ id: string; secret: string }> {
    const id = await addUser(name);
    const secret = newTotpSecret();
    const sealed = await secretBox.seal(database.tenants.a.tenantId, totpSecretName(id), secret);
    await database.asOwner(
      `update principal_password set totp = $2, totp_since = case when $3::boolean then now() end where principal_id = $1`,
      [id, sealed, confirmed],
    );
    return { id, secret };
  }
  const step = () => Math.floor(Date.now() / 30_000);

  test('that counts is asked for: without its code, or with a wrong one, the password is not enough', async () => {
    const { id, secret } = await enrol('careful', true);
    expect(await reasonOf(prove('careful'))).toBe('second-factor');
    expect(await reasonOf(prove('careful', password, { oneTimeCode: '000000x' }))).toBe('second-factor');
    expect((await rowOf(id)).failures).toBe(2);
    await prove('careful', password, { oneTimeCode: totpCode(secret, step()) });
    expect((await rowOf(id)).failures).toBe(0);
  });

  test('gives codes that are good once, also for two who come at once', async () => {
    const { secret } = await enrol('once', true);
    const oneTimeCode = totpCode(secret, step());
    const both = await Promise.allSettled([1, 2].map(() => prove('once', password, { oneTimeCode })));
    expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(await reasonOf(prove('once', password, { oneTimeCode }))).toBe('second-factor');
  });

  test('counts from its first good code on, with an event; a wrong code before is refused all the same', async () => {
    const { id, secret } = await enrol('newly', false);
    await prove('newly');
    expect(await reasonOf(prove('newly', password, { oneTimeCode: '12345' }))).toBe('second-factor');
    expect((await rowOf(id)).totp_since).toBeNull();
    await prove('newly', password, { oneTimeCode: totpCode(secret, step()) });
    expect((await rowOf(id)).totp_since).toBeInstanceOf(Date);
    expect(await reasonOf(prove('newly'))).toBe('second-factor');
    const events = await database.asOwner(
      `select 1 from audit_event where type = 'user.authenticator-confirmed' and data->>'user' = 'newly'`,
    );
    expect(events).toHaveLength(1);
  });

  test('cannot be found by trying: ten wrong codes lock the user', async () => {
    const { secret } = await enrol('tried', true);
    for (let wrong = 0; wrong < wrongInARow; wrong++) await reasonOf(prove('tried', password, { oneTimeCode: 'x' }));
    expect(await reasonOf(prove('tried', password, { oneTimeCode: totpCode(secret, step()) }))).toBe('locked');
  });
});

describe('a one-time password', () => {
  test('is good once', async () => {
    await addUser('invited', { oneTime: true });
    await prove('invited');
    expect(await reasonOf(prove('invited'))).toBe('wrong');
  });

  test('is given to the owner of a new tenant once, also when several ask at once', async () => {
    const owner = database.tenants.b;
    const given = await Promise.all([1, 2, 3].map(() => giveOwnerPassword(database.store, hashing, owner)));
    const passwords = given.filter((one) => one !== null);
    expect(passwords).toHaveLength(1);
    expect(passwords[0]).toMatch(/^[\w-]{20}$/);
    const attempt = { userName: 'owner', password: passwords[0]! };
    expect(await check.prove(database.store, owner.tenantId, attempt)).toMatchObject({ name: 'owner', role: 'owner' });
    expect(await giveOwnerPassword(database.store, hashing, owner)).toBeNull();
  });
});

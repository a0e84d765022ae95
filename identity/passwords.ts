import { recordEvents } from '../audit/record.ts';
import type { Sql, Store } from '../prisma/contract.ts';
import { WaybillError } from '../schema/errors.ts';
import { createPasswordHashing, noPassword, type PasswordHashing } from './passwordHashing.ts';
import { checkAttempt, type PasswordAttempt } from './passwordRules.ts';
import type { ProvenUser } from './provenUser.ts';
import type { SecretBox } from './secrets.ts';
import { createTurns } from './sessions/turns.ts';
import { createTogetherOnce } from './togetherOnce.ts';
import { stepOfCode } from './totp.ts';

/** Wrong passwords or codes in a row after which the next ones are not looked at for a while. */
export const wrongInARow = 10;
/** Seconds of the first lock. Each wrong one after it doubles them. */
const firstLockSeconds = 60;
const longestLockSeconds = 3_600;

/**
 * Why somebody was not let in. For the audit log: the caller reads the same words for all of them. `changed`: the password
 * was right for a hash that is no longer there; it is compared once more.
 */
type RefusalReason = 'unknown' | 'wrong' | 'changed' | 'locked' | 'disabled' | 'second-factor';

export interface PasswordCheck {
  /**
   * The user that a name and a password prove, and a code of the authenticator when the user has one. A name without a
   * user, a locked and a disabled one cost what a wrong password costs. A one-time password is used up by it. Throws
   * unauthenticated, `context.reason` for the audit only; invalid, before anything is hashed, for what cannot be anybody's;
   * rate-limited when too many wait.
   */
  prove(store: Store, tenantId: string, attempt: PasswordAttempt): Promise<ProvenUser>;
  /** What is stored of a new password. Throws rate-limited when too many wait. */
  hash(password: string): Promise<string>;
}

/** One for each process: its limits are those of the machine. */
export function createPasswordCheck(options: { secretBox: SecretBox; hashing?: PasswordHashing }): PasswordCheck {
  const { secretBox, hashing = createPasswordHashing() } = options;
  const together = createTogetherOnce<Comparison>();
  const turns = createTurns();

  return {
    hash: (password) => hashing.hash(password),
    prove: async (store, tenantId, attempt) => {
      checkAttempt(attempt);
      const { userName, password } = attempt;
      const who = [tenantId, userName.toLowerCase()];
      const answer = async () => {
        // Hundreds of one user with one password cost one hash: nobody else has to wait for all of theirs.
        const comparison = await together([...who, password], () => compare(store, hashing, tenantId, attempt));
        // They are judged one after the other: those that wait do it here, not each with a connection that others need.
        return turns.take(JSON.stringify(who), () =>
          store.sql(tenantId, (sql) => judge(sql, tenantId, { ...comparison, attempt }, secretBox)),
        );
      };
      let judged = await answer();
      if (judged === 'changed') judged = await answer();
      if (typeof judged !== 'string') return judged;
      throw new WaybillError('unauthenticated', 'the user name or the password is not right', { reason: judged });
    },
  };
}

/** The name under which the secret of a user's authenticator is sealed. */
export function totpSecretName(principalId: string): string {
  return `totp/${principalId}`;
}

interface Known extends Record<string, unknown> {
  principalId: string;
  hash: string | null;
}

interface Comparison {
  known: Known | undefined;
  isRight: boolean;
  /** The same password under today's parameters, when its hash was made with others. */
  rehashed: string | null;
}

type Proof = Comparison & { attempt: PasswordAttempt };

interface PasswordRow extends Record<string, unknown> {
  hash: string;
  failures: number;
  oneTime: boolean;
  locked: boolean;
  totp: Buffer | null;
  totpConfirmed: boolean;
  totpLastStep: string | null;
  userNumber: number;
  name: string;
  role: string;
  disabled: boolean;
}

const nobody = '00000000-0000-0000-0000-000000000000';

async function compare(
  store: Store,
  hashing: PasswordHashing,
  tenantId: string,
  { userName, password }: PasswordAttempt,
): Promise<Comparison> {
  const [known] = await store.look<Known>(tenantId, selectHash, [tenantId, userName]);
  const isRight = await hashing.matches(known?.hash ?? null, password);
  const rehashed = isRight && hashing.isOutdated(known!.hash!) ? await hashing.hash(password) : null;
  return { known, isRight, rehashed };
}

const selectHash = `
  select p.id as "principalId", w.hash from principal p
    left join principal_password w on w.tenant_id = p.tenant_id and w.principal_id = p.id
  where p.tenant_id = $1::uuid and p.kind = 'user' and lower(p.name) = lower($2::text)`;

/**
 * The user, or why not, one judgement of a user after the other: of many that came at once none is let in after the tenth
 * wrong one. Every refusal makes the same statements, and none waits for the disk.
 */
async function judge(
  sql: Sql,
  tenantId: string,
  { known, isRight, rehashed, attempt }: Proof,
  secretBox: SecretBox,
): Promise<ProvenUser | RefusalReason> {
  const principalId = known?.principalId ?? nobody;
  const [row] = await sql.query<PasswordRow>(selectPassword, [tenantId, principalId]);
  const refuse = async (reason: RefusalReason): Promise<RefusalReason> => {
    const counts = reason === 'wrong' || reason === 'second-factor';
    await noteRefusal(sql, tenantId, counts ? principalId : nobody, attempt.address);
    return reason;
  };
  if (row === undefined) return refuse(known === undefined ? 'unknown' : 'wrong');
  if (row.locked) return refuse('locked');
  if (!isRight) return refuse('wrong');
  // Another one was set since it was looked at, or the same one under today's parameters.
  if (row.hash !== known!.hash) return refuse('changed');
  const secondFactor = await checkSecondFactor(row, attempt.oneTimeCode, (sealed) =>
    secretBox.open(tenantId, totpSecretName(principalId), sealed),
  );
  if (!secondFactor.isGood) return refuse('second-factor');
  if (row.disabled) return refuse('disabled');
  await noteSuccess(sql, tenantId, principalId, row.oneTime ? noPassword : rehashed, secondFactor.step);
  if (secondFactor.step !== null && !row.totpConfirmed)
    await recordEvents(sql, tenantId, [
      { type: 'user.authenticator-confirmed', actor: { principalId }, data: { user: row.name } },
    ]);
  return { principalId, userNumber: row.userNumber, name: row.name, role: row.role };
}

/** A code that is given is looked at, also before the authenticator counts: the first good one makes it count. */
async function checkSecondFactor(
  { totp, totpConfirmed, totpLastStep }: PasswordRow,
  code: string | undefined,
  open: (sealed: Buffer) => Promise<string>,
): Promise<{ isGood: boolean; step: number | null }> {
  if (totp === null || (code === undefined && !totpConfirmed)) return { isGood: true, step: null };
  if (code === undefined) return { isGood: false, step: null };
  const step = stepOfCode(await open(totp), code, Date.now(), totpLastStep === null ? null : Number(totpLastStep));
  return { isGood: step !== undefined, step: step ?? null };
}

const selectPassword = `
  select w.hash, w.failures, w.one_time as "oneTime", coalesce(w.locked_until > now(), false) as locked, w.totp,
    w.totp_since is not null as "totpConfirmed", w.totp_last_step as "totpLastStep",
    p.user_number as "userNumber", p.name, p.role, p.disabled_at is not null as disabled
  from principal_password w join principal p on p.tenant_id = w.tenant_id and p.id = w.principal_id
  where w.tenant_id = $1::uuid and w.principal_id = $2::uuid
  for update of w`;

/** Counts a failure of the user, or of nobody, which takes as long. */
async function noteRefusal(
  sql: Sql,
  tenantId: string,
  principalId: string,
  address: string | undefined,
): Promise<void> {
  // What a power cut takes is one count; waiting for the disk would tell users from names that nobody has.
  await sql.query(`select set_config('synchronous_commit', 'off', true)`);
  const [locked] = await sql.query<{ name: string; failures: number; lockedUntil: Date | null }>(
    `update principal_password w set failures = w.failures + 1,
       locked_until = case when w.failures + 1 >= $3::int
         then now() + make_interval(secs => least($5::int, $4::int * power(2, least(w.failures + 1 - $3::int, 20)))) end
       from principal p
      where w.tenant_id = $1::uuid and w.principal_id = $2::uuid and p.tenant_id = w.tenant_id and p.id = w.principal_id
      returning p.name, w.failures, w.locked_until as "lockedUntil"`,
    [tenantId, principalId, wrongInARow, firstLockSeconds, longestLockSeconds],
  );
  if (!locked?.lockedUntil) return;
  const { name, failures, lockedUntil } = locked;
  const data = { user: name, failures, lockedUntil: lockedUntil.toISOString(), address: address ?? null };
  await recordEvents(sql, tenantId, [{ type: 'user.locked', outcome: 'failure', actor: { principalId: null }, data }]);
}

/** Writes nothing when there is nothing new, which is nearly always: a commit that has written waits for the disk. */
async function noteSuccess(
  sql: Sql,
  tenantId: string,
  principalId: string,
  hash: string | null,
  step: number | null,
): Promise<void> {
  await sql.query(
    `update principal_password set failures = 0, locked_until = null, hash = coalesce($3::text, hash),
       totp_last_step = coalesce($4::bigint, totp_last_step),
       totp_since = case when $4::bigint is null then totp_since else coalesce(totp_since, now()) end
     where tenant_id = $1::uuid and principal_id = $2::uuid
       and (failures > 0 or locked_until is not null or $3::text is not null or $4::bigint is not null)`,
    [tenantId, principalId, hash, step],
  );
}

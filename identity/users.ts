import { type NewEvent, recordEvents } from '../audit/record.ts';
import type { Sql } from '../prisma/contract.ts';
import { WaybillError } from '../schema/errors.ts';
import { accountPattern } from '../schema/names.ts';
import { checkText } from './passwordRules.ts';
import { roles } from './permissions.ts';
import type { ProvenUser } from './provenUser.ts';

const maxEmailCharacters = 254;
const maxPersonNameCharacters = 100;
/** Of a name that is made of an address; a number comes behind it. */
const maxStemCharacters = 110;
const maxAlikeNames = 1_000;
/** What a user who came with a ticket may do: send files in, nothing more, until an owner says otherwise. */
const roleOfNewcomers = 'uploader';

export type FoundUser = ProvenUser & { disabled: boolean };

export interface NewUser {
  name: string;
  email: string | null;
  firstName: string | null;
  lastName: string | null;
  role: string;
}

/** The user of that name, in whatever case it is written, or undefined. Service accounts are no users. */
export async function findUserByName(sql: Sql, tenantId: string, name: string): Promise<FoundUser | undefined> {
  const [user] = await sql.query<FoundRow>(
    `${selectUser} where tenant_id = $1::uuid and kind = 'user' and lower(name) = lower($2::text)`,
    [tenantId, name],
  );
  return user;
}

/** The user of that documented integer, or undefined. */
export async function findUserByNumber(sql: Sql, tenantId: string, userNumber: number): Promise<FoundUser | undefined> {
  const [user] = await sql.query<FoundRow>(
    `${selectUser} where tenant_id = $1::uuid and kind = 'user' and user_number = $2::int`,
    [tenantId, userNumber],
  );
  return user;
}

/**
 * The user of that e-mail address in whatever case, or a new one who may only send files in, with an event, in the
 * caller's transaction. Two at once get the same. Throws invalid for an address or a name out of form.
 */
export async function findOrCreateUserByEmail(
  sql: Sql,
  tenantId: string,
  person: { emailAddress: string; firstName: string; lastName: string },
  actor: NewEvent['actor'],
): Promise<FoundUser> {
  checkEmail('emailAddress', person.emailAddress);
  // An address that is known counts alone: the names are for a user who is made.
  const known = await findUserByEmail(sql, tenantId, person.emailAddress);
  if (known !== undefined) return known;
  checkPersonName('firstName', person.firstName);
  checkPersonName('lastName', person.lastName);
  await lockAccounts(sql, tenantId);
  return (
    (await findUserByEmail(sql, tenantId, person.emailAddress)) ??
    insertUser(
      sql,
      tenantId,
      {
        name: await freeNameFor(sql, tenantId, person.emailAddress),
        email: person.emailAddress,
        firstName: person.firstName || null,
        lastName: person.lastName || null,
        role: roleOfNewcomers,
      },
      actor,
    )
  );
}

/** Makes a user, with an event, in the caller's transaction. Throws invalid for what is out of form, conflict for a name or address that is taken. */
export async function createUser(
  sql: Sql,
  tenantId: string,
  user: NewUser,
  actor: NewEvent['actor'],
): Promise<FoundUser> {
  checkNewUser(user);
  await lockAccounts(sql, tenantId);
  const { name, email } = user;
  const [taken] = await sql.query<{ name: boolean }>(
    `select lower(name) = lower($2::text) as name from principal
      where tenant_id = $1::uuid and (lower(name) = lower($2::text) or lower(email) = lower($3::text)) limit 1`,
    [tenantId, name, email],
  );
  if (taken?.name) throw new WaybillError('conflict', `there is an account ${name} already`, { field: 'userName' });
  if (taken) throw addressTaken();
  return insertUser(sql, tenantId, user, actor);
}

/** What can be changed of a user: all but the name, which others refer to. An empty first or last name removes it. */
export interface UserDetails {
  email?: string | undefined;
  firstName?: string | undefined;
  lastName?: string | undefined;
  role?: string | undefined;
}

/**
 * Whether those are what a user may have, in the caller's transaction, which has locked the tenant's accounts. Throws
 * invalid for what is out of form, conflict for an address that another user has.
 */
export async function checkNewDetails(
  sql: Sql,
  { tenantId, principalId }: { tenantId: string; principalId: string },
  details: UserDetails,
): Promise<void> {
  checkDetails(details);
  if (details.email === undefined) return;
  const holder = await findUserByEmail(sql, tenantId, details.email);
  if (holder !== undefined && holder.principalId !== principalId) throw addressTaken();
}

function addressTaken(): WaybillError {
  return new WaybillError('conflict', 'the e-mail address is that of another user', { field: 'email' });
}

function checkNewUser({ name, email, firstName, lastName, role }: NewUser): void {
  if (!new RegExp(accountPattern).test(name))
    throw new WaybillError(
      'invalid',
      'a user name has 1 to 127 letters, digits, dots, hyphens, underscores and @, and begins with a letter or a digit',
      { field: 'userName' },
    );
  checkDetails({ email: email ?? undefined, firstName: firstName ?? undefined, lastName: lastName ?? undefined, role });
}

function checkDetails({ email, firstName, lastName, role }: UserDetails): void {
  if (email !== undefined) checkEmail('email', email);
  if (firstName !== undefined) checkPersonName('firstName', firstName);
  if (lastName !== undefined) checkPersonName('lastName', lastName);
  if (role !== undefined && !(roles as readonly string[]).includes(role))
    throw new WaybillError('invalid', `there is no role ${JSON.stringify(role)}; one of ${roles.join(', ')}`, {
      field: 'role',
    });
}

/** One `@` with something on both sides, and no blank: whether somebody reads there only a message can tell. */
function checkEmail(field: string, email: string): void {
  checkText(field, email, maxEmailCharacters);
  if (!/^[^\s@]+@[^\s@]+$/u.test(email)) throw new WaybillError('invalid', `${field} is no e-mail address`, { field });
}

function checkPersonName(field: string, name: string): void {
  if (name !== '') checkText(field, name, maxPersonNameCharacters);
}

type FoundRow = FoundUser & Record<string, unknown>;

const userColumns = `id as "principalId", user_number as "userNumber", name, role, disabled_at is not null as disabled`;
const selectUser = `select ${userColumns} from principal`;

async function findUserByEmail(sql: Sql, tenantId: string, email: string): Promise<FoundUser | undefined> {
  const [user] = await sql.query<FoundRow>(
    `${selectUser} where tenant_id = $1::uuid and kind = 'user' and lower(email) = lower($2::text)`,
    [tenantId, email],
  );
  return user;
}

/** One new or changed account of a tenant at a time, as its trigger has it too: what is looked up before stays true. */
export async function lockAccounts(sql: Sql, tenantId: string): Promise<void> {
  await sql.query(`select pg_advisory_xact_lock(hashtextextended('principal/' || $1::text, 0))`, [tenantId]);
}

/** The address as a name, with what a name cannot hold replaced, and a number when somebody has it. */
async function freeNameFor(sql: Sql, tenantId: string, email: string): Promise<string> {
  const stem = email
    .toLowerCase()
    .replace(/[^a-z0-9._@-]/gu, '-')
    .replace(/^[^a-z0-9]+/u, '')
    .slice(0, maxStemCharacters);
  const [free] = await sql.query<{ name: string }>(
    `select name from (select number, case number when 1 then $2::text else $2::text || '-' || number end as name
                         from generate_series(1, $3::int) as number) candidate
      where not exists (select from principal p where p.tenant_id = $1::uuid and lower(p.name) = candidate.name)
      order by number limit 1`,
    [tenantId, stem || 'user', maxAlikeNames],
  );
  if (free === undefined)
    throw new WaybillError('conflict', 'too many users have a name like that address; create the user by hand');
  return free.name;
}

async function insertUser(
  sql: Sql,
  tenantId: string,
  { name, email, firstName, lastName, role }: NewUser,
  actor: NewEvent['actor'],
): Promise<FoundUser> {
  const [user] = await sql.query<FoundRow>(
    `insert into principal (tenant_id, kind, name, role, email, first_name, last_name)
     values ($1::uuid, 'user', $2::text, $3::text, $4::text, $5::text, $6::text) returning ${userColumns}`,
    [tenantId, name, role, email, firstName, lastName],
  );
  const data = { user: name, userId: user!.userNumber, role, email };
  await recordEvents(sql, tenantId, [{ type: 'user.created', actor, data }]);
  return user!;
}

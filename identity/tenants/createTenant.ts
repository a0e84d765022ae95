import { v7 } from 'uuid';
import { recordEvents } from '../../audit/record.ts';
import type { Sql, Store } from '../../prisma/contract.ts';
import { WaybillError } from '../../schema/errors.ts';
import { reservedResourceNames, resourceNamePattern } from '../../schema/names.ts';
import { newOneTimePassword, type OneTimePassword, ownerName, storeOneTimePassword } from '../firstRun.ts';
import type { PasswordHashing } from '../passwordHashing.ts';
import { registerDefaultSite, registerSite } from '../sites.ts';

const hostPattern = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/;
const maxHosts = 50;

export interface NewTenant {
  name: string;
  /** Host names under which it is reached, besides `/t/<name>/`. */
  hosts: readonly string[];
}

export interface FoundedTenant {
  tenantId: string;
  /** Of its owner. */
  principalId: string;
  /** Of its owner; shown once. */
  oneTimePassword: string;
}

/**
 * Makes a tenant, its owner account and the names that it is reached under. `owner` is a store of the role that owns the
 * tables. Throws invalid for a name, exists when there is a tenant of that name, conflict when another one is reached under it.
 */
export async function createTenant(owner: Store, hashing: PasswordHashing, tenant: NewTenant): Promise<FoundedTenant> {
  const { name } = tenant;
  if (!new RegExp(resourceNamePattern).test(name) || reservedResourceNames.includes(name))
    throw new WaybillError('invalid', `a tenant cannot be called ${JSON.stringify(name)}: it takes ${nameRule}`, {
      field: 'name',
    });
  const hosts = checkedHosts(tenant.hosts);
  const tenantId = v7();
  const password = await newOneTimePassword(hashing);
  const principalId = await owner
    .sql(tenantId, (sql) => found(sql, tenantId, { name, hosts }, password))
    .catch((error) => {
      throw isTaken(error) ? new WaybillError('exists', `there is a tenant ${name} already`, { cause: error }) : error;
    });
  return { tenantId, principalId, oneTimePassword: password.text };
}

const nameRule = 'small letters, digits and hyphens, begins with a letter, and has 3 to 63 characters';

function checkedHosts(given: readonly string[]): string[] {
  const hosts = [...new Set(given.map((host) => host.toLowerCase()))];
  const wrong = hosts.find((host) => !hostPattern.test(host));
  if (wrong !== undefined)
    throw new WaybillError('invalid', `${JSON.stringify(wrong)} is no host name; give it without scheme and port`, {
      field: 'host',
    });
  if (hosts.length > maxHosts) throw new WaybillError('invalid', `a tenant has at most ${maxHosts} host names`);
  return hosts;
}

/** All of it or nothing: a tenant whose owner has no password could be entered by nobody. */
async function found(
  sql: Sql,
  tenantId: string,
  { name, hosts }: NewTenant,
  password: OneTimePassword,
): Promise<string> {
  await sql.query('insert into tenant (id, name) values ($1::uuid, $2::text)', [tenantId, name]);
  for (const site of [name, ...hosts]) await registerSite(sql, tenantId, site);
  await registerDefaultSite(sql, tenantId);
  await sql.query(
    'insert into tenant_host (tenant_id, host) select $1::uuid, host from unnest($2::text[]) as given(host)',
    [tenantId, hosts],
  );
  const [owner] = await sql.query<{ id: string }>(
    `insert into principal (tenant_id, kind, name, role) values ($1::uuid, 'user', $2::text, 'owner') returning id`,
    [tenantId, ownerName],
  );
  await storeOneTimePassword(sql, { tenantId, principalId: owner!.id }, password);
  const data = { tenant: name, hosts: [...hosts] };
  await recordEvents(sql, tenantId, [{ type: 'tenant.created', actor: { principalId: null }, data }]);
  return owner!.id;
}

function isTaken(error: unknown): boolean {
  return error instanceof WaybillError && error.kind === 'exists' && error.context.table === 'tenant';
}

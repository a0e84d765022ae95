import type pg from 'pg';
import { WaybillError } from '../schema/errors.ts';

/** The wall's condition as PostgreSQL prints it back. */
const wall = (column: string): string =>
  `(${column} = (( SELECT NULLIF(current_setting('app.tenant_id'::text, true), ''::text) AS "nullif"))::uuid)`;

/** The one other look the application has: a row of the credential index whose hash it can name. */
const byHash = `(hash = decode(NULLIF(current_setting('app.credential'::text, true), ''::text), 'hex'::text))`;

/**
 * Refuses a role that could step over the wall between tenants, and a wall with a gap: a table with tenant_id (or the
 * table of tenants) without forced row-level security, without the tenant_wall policy, or with another policy that lets
 * the role see more (the system role has such policies, by name and on purpose).
 *
 * Throws forbidden, with every finding in the message.
 */
export async function checkWall(pool: pg.Pool): Promise<void> {
  const findings = [...(await roleFindings(pool)), ...(await tableFindings(pool))];
  if (findings.length === 0) return;
  throw new WaybillError('forbidden', `the wall between tenants has gaps: ${findings.join('; ')}`, { findings });
}

async function roleFindings(pool: pg.Pool): Promise<string[]> {
  const { rows } = await pool.query<{ name: string; superuser: boolean; bypasses: boolean; owned: string[] }>(`
    select current_user::text as name, r.rolsuper as superuser, r.rolbypassrls as bypasses,
      array(select c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
            where n.nspname = 'public' and c.relkind in ('r', 'p') and pg_has_role(current_user, c.relowner, 'MEMBER')
            order by 1) as owned
    from pg_roles r where r.rolname = current_user`);
  return rows.flatMap(({ name, superuser, bypasses, owned }) => [
    ...(superuser ? [`role ${name} is a superuser`] : []),
    ...(bypasses ? [`role ${name} has BYPASSRLS`] : []),
    ...(owned.length > 0 && !superuser ? [`role ${name} owns ${owned.join(', ')}`] : []),
  ]);
}

async function tableFindings(pool: pg.Pool): Promise<string[]> {
  const { rows } = await pool.query<TableFacts>(`
    select c.relname::text as name, c.relrowsecurity as enabled, c.relforcerowsecurity as forced, c.relname = 'tenant' as "isTenant",
      pg_has_role(current_user, 'waybill_system', 'MEMBER') as "isSystem",
      coalesce((select jsonb_agg(jsonb_build_object(
          'name', p.polname, 'permissive', p.polpermissive, 'command', p.polcmd, 'everybody', p.polroles = '{0}',
          'system', p.polroles = array[to_regrole('waybill_system')::oid],
          'using', pg_get_expr(p.polqual, p.polrelid), 'check', pg_get_expr(p.polwithcheck, p.polrelid)))
        from pg_policy p where p.polrelid = c.oid), '[]') as policies
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'public' and c.relkind in ('r', 'p') and (c.relname = 'tenant' or exists (
      select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped))
    order by 1`);
  if (rows.length === 0) return ['there are no tables; run waybill migrate'];
  return rows.flatMap((table) => gapsOf(table).map((gap) => `table ${table.name} ${gap}`));
}

interface TableFacts {
  name: string;
  enabled: boolean;
  forced: boolean;
  isTenant: boolean;
  isSystem: boolean;
  policies: Policy[];
}

interface Policy {
  name: string;
  permissive: boolean;
  command: string;
  everybody: boolean;
  system: boolean;
  using: string | null;
  check: string | null;
}

function gapsOf(table: TableFacts): string[] {
  if (!table.enabled) return ['has no row-level security'];
  const expected = wall(table.isTenant ? 'id' : 'tenant_id');
  const isWall = (policy: Policy): boolean =>
    policy.everybody &&
    policy.permissive &&
    policy.command === '*' &&
    same(policy.using, expected) &&
    same(policy.check, expected);
  const isLookUp = (policy: Policy): boolean =>
    table.name === 'credential_index' && policy.command === 'r' && same(policy.using, byHash);
  const others = table.policies.filter(
    (policy) => policy.permissive && !isWall(policy) && !isLookUp(policy) && !policy.system,
  );
  return [
    ...(table.forced ? [] : ['does not force row-level security on its owner']),
    ...(table.policies.some(isWall) ? [] : ['has no policy on its tenant']),
    ...others.map((policy) => `has a policy that opens it: ${policy.name}`),
  ];
}

function same(expression: string | null, expected: string): boolean {
  return expression !== null && expression.replace(/\s/g, '') === expected.replace(/\s/g, '');
}

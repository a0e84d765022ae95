import type pg from 'pg';
import { WaybillError } from '../schema/errors.ts';

/** The wall's condition as PostgreSQL prints it back. */
const wall = (column: string): string =>
  `(${column} = (( SELECT NULLIF(current_setting('app.tenant_id'::text, true), ''::text) AS "nullif"))::uuid)`;

/** The one other look the application has: a row of the credential index whose hash it can name. */
const byHash = `(hash = decode(NULLIF(current_setting('app.credential'::text, true), ''::text), 'hex'::text))`;

/**
 * Refuses a role that could step over the wall between tenants, itself or as another role that it may take on, and a wall
 * with a gap: a table with tenant_id (or the table of tenants) without forced row-level security, without the tenant_wall
 * policy, or with another policy that lets the role see more (the system role has such policies, by name and on purpose,
 * and so may not be that of the application); a view that reads such tables with the rights of its owner.
 *
 * Throws forbidden, with every finding in the message.
 */
export async function checkWall(pool: pg.Pool, use: 'application' | 'system'): Promise<void> {
  const findings = [...(await roleFindings(pool, use)), ...(await viewFindings(pool)), ...(await tableFindings(pool))];
  if (findings.length === 0) return;
  const message = `the wall between tenants has gaps: ${findings.join('; ')}. Sign in with the roles that \`waybill migrate\` makes, and undo what was changed in the database beside it`;
  throw new WaybillError('forbidden', message, { findings });
}

async function roleFindings(pool: pg.Pool, use: 'application' | 'system'): Promise<string[]> {
  const { rows } = await pool.query<RoleFacts>(`
    select current_user::text as name, r.rolsuper as superuser, r.rolbypassrls as bypasses,
      array(select m.rolname::text from pg_roles m where (m.rolsuper or m.rolbypassrls) and m.oid <> r.oid
              and pg_has_role(r.oid, m.oid, 'MEMBER') order by 1) as above,
      coalesce(pg_has_role(r.oid, to_regrole('waybill_system'), 'MEMBER'), false) as "isSystem",
      array(select c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
            where n.nspname = 'public' and c.relkind in ('r', 'p') and pg_has_role(current_user, c.relowner, 'MEMBER')
            order by 1) as owned
    from pg_roles r where r.rolname = current_user`);
  return rows.flatMap(({ name, superuser, bypasses, above, isSystem, owned }) => {
    // A member of every role there is.
    if (superuser) return [`role ${name} is a superuser`];
    return [
      ...(bypasses ? [`role ${name} has BYPASSRLS`] : []),
      ...(above.length > 0
        ? [`role ${name} may become ${above.join(', ')}, which row-level security does not hold`]
        : []),
      ...(isSystem && use === 'application' ? [`role ${name} has the rights of waybill_system`] : []),
      ...(owned.length > 0 ? [`role ${name} owns ${owned.join(', ')}`] : []),
    ];
  });
}

interface RoleFacts {
  name: string;
  superuser: boolean;
  bypasses: boolean;
  /** Roles that it may take on, and that row-level security does not hold. */
  above: string[];
  isSystem: boolean;
  owned: string[];
}

/** A view reads as its owner does, unless it is told otherwise; what a materialized one holds has no wall at all. */
async function viewFindings(pool: pg.Pool): Promise<string[]> {
  const { rows } = await pool.query<{ name: string }>(`
    select c.relname::text as name from pg_class c
    where c.relnamespace = 'public'::regnamespace and has_table_privilege(c.oid, 'select')
      and (c.relkind = 'm' or c.relkind = 'v' and not coalesce(c.reloptions && array['security_invoker=true', 'security_invoker=on'], false))
      and exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped)
    order by 1`);
  return rows.map(({ name }) => `view ${name} shows rows of every tenant`);
}

async function tableFindings(pool: pg.Pool): Promise<string[]> {
  const { rows } = await pool.query<TableFacts>(`
    select c.relname::text as name, c.relrowsecurity as enabled, c.relforcerowsecurity as forced, c.relname = 'tenant' as "isTenant",
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

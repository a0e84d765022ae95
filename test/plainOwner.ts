import { randomUUID } from 'node:crypto';
import type { TestDatabase } from './servers/database.ts';

export interface PlainOwner {
  url: string;
  /** To be called when the database is gone. */
  drop(): Promise<void>;
}

/**
 * Gives the tables of a test's database to a role that is no superuser: as in an installation on somebody else's
 * PostgreSQL, where the wall between tenants holds for the owner too. `asAdministrator` outlives the database.
 */
export async function handToPlainOwner(
  { asOwner, ownerUrl }: TestDatabase,
  asAdministrator: (statement: string) => Promise<unknown>,
): Promise<PlainOwner> {
  const name = `plain_${randomUUID().replaceAll('-', '')}`;
  await asOwner(`create role ${name} login nosuperuser nobypassrls password '${name}'`);
  await asOwner(`do $$ declare owned text; begin
    for owned in select c.oid::regclass::text from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind = 'r'
    loop execute format('alter table %s owner to ${name}', owned); end loop; end $$`);
  await asOwner(`grant usage, create on schema public to ${name}`);
  const url = new URL(ownerUrl);
  url.username = name;
  url.password = name;
  return { url: url.toString(), drop: async () => void (await asAdministrator(`drop role ${name}`)) };
}

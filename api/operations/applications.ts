import { recordEvents } from '../../audit/record.ts';
import { checkNewApplication } from '../../identity/applications.ts';
import type { Application } from '../../prisma/generated/client.ts';
import { WaybillError } from '../../schema/errors.ts';
import type { Operation } from '../context.ts';
import { actorOf } from './events.ts';

/**
 * Lets users sign in with an application of that id; one that was disabled is let in again under the new name. Throws
 * invalid for an id or a name out of form, conflict for one that is taken.
 */
export async function registerApplication(
  { store, caller }: Operation,
  application: { id: number; name: string },
): Promise<{ application: Application }> {
  const { tenantId } = caller;
  const { id, name } = application;
  checkNewApplication(application);
  return store.withTenant(tenantId, async ({ db, sql }) => {
    // One after the other: the loser reads a sentence, not the name of an index.
    await sql.query(`select pg_advisory_xact_lock(hashtextextended('application/' || $1::text, 0))`, [tenantId]);
    const known = await db.application.findFirst({ where: { tenantId, id } });
    if (known !== null && known.disabledAt === null)
      throw new WaybillError('conflict', `the application ${id} is registered already, as ${known.name}`, {
        field: 'id',
      });
    const namesake = await db.application.findFirst({ where: { tenantId, name, id: { not: id } } });
    if (namesake !== null)
      throw new WaybillError('conflict', `the application ${namesake.id} has that name`, { field: 'name' });
    const registered = await db.application.upsert({
      where: { tenantId_id: { tenantId, id } },
      create: { tenantId, id, name },
      update: { name, disabledAt: null },
    });
    await recordEvents(sql, tenantId, [
      { type: 'application.registered', actor: actorOf(caller), data: { application: id, name } },
    ]);
    return { application: registered };
  });
}

/** Nobody signs in with it from now on; sessions that stand go on. Throws not-found. */
export async function disableApplication(
  { store, caller }: Operation,
  { id }: { id: number },
): Promise<{ application: Application }> {
  const { tenantId } = caller;
  return store.withTenant(tenantId, async ({ db, sql }) => {
    const { count } = await db.application.updateMany({
      where: { tenantId, id, disabledAt: null },
      data: { disabledAt: new Date() },
    });
    const application = await db.application.findFirst({ where: { tenantId, id } });
    if (application === null)
      throw new WaybillError('not-found', `the application ${id} is not registered`, { field: 'id' });
    const data = { application: id, name: application.name };
    if (count > 0) await recordEvents(sql, tenantId, [{ type: 'application.disabled', actor: actorOf(caller), data }]);
    return { application };
  });
}

import type { Sql } from '../prisma/contract.ts';
import { WaybillError } from '../schema/errors.ts';
import { firstApplicationId } from '../schema/names.ts';
import { checkText } from './passwordRules.ts';

/** Those of Waybill itself. Below `firstApplicationId` there are no others. */
export const applications = {
  pipelines: 10,
  console: 20,
  commandLine: 21,
  uploadPage: 22,
  sftp: 30,
  ftps: 31,
} as const;

const own: readonly number[] = Object.values(applications);

const largestId = 2 ** 31 - 1;
const maxNameCharacters = 100;

/** Throws invalid, with code APPLICATION_REFUSED, for an application that nobody may sign in with: unknown, reserved or disabled. */
export async function checkApplication(sql: Sql, tenantId: string, applicationId: number): Promise<void> {
  // Nobody signs in with the one that runs act under.
  if (applicationId === applications.pipelines) throw refused(`the application ${applicationId} is reserved`);
  await checkApplicationOfRun(sql, tenantId, applicationId);
}

/** The same for an application that a run is to act under: that of pipelines is one of them. */
export async function checkApplicationOfRun(sql: Sql, tenantId: string, applicationId: number): Promise<void> {
  if (own.includes(applicationId)) return;
  if (!isOfCustomers(applicationId)) throw refused(`the application ${applicationId} is reserved`);
  const [known] = await sql.query<{ disabled: boolean }>(
    'select disabled_at is not null as disabled from application where tenant_id = $1::uuid and id = $2::int',
    [tenantId, applicationId],
  );
  if (known === undefined)
    throw refused(
      `the application ${applicationId} is not registered: waybill apps register --id ${applicationId} --name NAME`,
    );
  if (known.disabled) throw refused(`the application ${applicationId} is disabled`);
}

/** Those that `checkApplicationOfRun` lets pass. */
export async function applicationsOfRuns(sql: Sql, tenantId: string): Promise<ReadonlySet<number>> {
  const registered = await sql.query<{ id: number }>(
    'select id from application where tenant_id = $1::uuid and disabled_at is null',
    [tenantId],
  );
  return new Set([...own, ...registered.map(({ id }) => id)]);
}

/** Throws invalid for an id or a name that no application of a customer can have. */
export function checkNewApplication({ id, name }: { id: number; name: string }): void {
  if (!isOfCustomers(id))
    throw new WaybillError('invalid', `the id of an application is ${firstApplicationId} to ${largestId}`, {
      field: 'id',
    });
  checkText('name', name, maxNameCharacters);
}

function isOfCustomers(id: number): boolean {
  return Number.isInteger(id) && id >= firstApplicationId && id <= largestId;
}

function refused(message: string): WaybillError {
  return new WaybillError('invalid', message, { code: 'APPLICATION_REFUSED', field: 'applicationId' });
}

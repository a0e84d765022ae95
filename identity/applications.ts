import type { Sql } from '../prisma/contract.ts';
import { WaybillError } from '../schema/errors.ts';
import { checkText } from './passwordRules.ts';

/** Those of Waybill itself. Below 1000 there are no others. */
export const applications = {
  pipelines: 10,
  console: 20,
  commandLine: 21,
  uploadPage: 22,
  sftp: 30,
  ftps: 31,
} as const;

/** Nobody signs in with the one that runs act under. */
const signsIn: readonly number[] = Object.values(applications).filter((id) => id !== applications.pipelines);

const firstOfCustomers = 1_000;
const largestId = 2 ** 31 - 1;
const maxNameCharacters = 100;

/** Throws invalid, with code APPLICATION_REFUSED, for an application that nobody may sign in with: unknown, reserved or disabled. */
export async function checkApplication(sql: Sql, tenantId: string, applicationId: number): Promise<void> {
  if (signsIn.includes(applicationId)) return;
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

/** Throws invalid for an id or a name that no application of a customer can have. */
export function checkNewApplication({ id, name }: { id: number; name: string }): void {
  if (!isOfCustomers(id))
    throw new WaybillError('invalid', `the id of an application is ${firstOfCustomers} to ${largestId}`, {
      field: 'id',
    });
  checkText('name', name, maxNameCharacters);
}

function isOfCustomers(id: number): boolean {
  return Number.isInteger(id) && id >= firstOfCustomers && id <= largestId;
}

function refused(message: string): WaybillError {
  return new WaybillError('invalid', message, { code: 'APPLICATION_REFUSED', field: 'applicationId' });
}

import { firstApplicationId } from '../schema/names.ts';
import type { Report } from './report.ts';
import type { Located } from './source.ts';

/**
 * Reports an application under which no run may act. Nothing is said where it is not known which there are, of what is no
 * number, which the schema reports, and of an expression: the run asks for that one.
 */
export function checkApplication(
  application: Located | undefined,
  applications: ReadonlySet<number> | undefined,
  report: Report,
): void {
  const id = application?.value;
  if (typeof id !== 'number' || !Number.isInteger(id) || id < 1 || applications === undefined || applications.has(id))
    return;
  const [message, suggestion] =
    id < firstApplicationId
      ? [`the application ${id} is reserved`, `leave it out, or name one of your own, from ${firstApplicationId} on`]
      : [
          `the application ${id} is not registered, or is disabled`,
          `register it first: waybill apps register --id ${id} --name NAME`,
        ];
  report.add('UNKNOWN_APPLICATION', application!.range, message, suggestion);
}

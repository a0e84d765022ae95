import { WaybillError } from '../../schema/errors.ts';

/** A row that the database's own rules promise is not there. Throws internal. */
export function missing(what: string): never {
  throw new WaybillError('internal', `${what} is missing`);
}

import type { WaybillError } from '../../schema/errors.ts';
import type { EndpointPool } from '../endpoints.ts';
import type { End } from './copyWork.ts';

export interface Borrowed {
  end: End;
  /** Ends the use, with the failure that it came to, if any: the endpoint's breaker counts it. */
  giveBack(failure: WaybillError | null): Promise<void>;
}

/** An endpoint to work with until it is given back: for many at the same time, of which each may fail alone. Throws as `use` does. */
export function borrow(endpoints: EndpointPool, tenantId: string, name: string): Promise<Borrowed> {
  const returned = Promise.withResolvers<WaybillError | null>();
  return new Promise((resolve, reject) => {
    const use = endpoints.use(tenantId, name, async (connector, settings) => {
      resolve({
        end: { name, connector, settings },
        async giveBack(failure) {
          returned.resolve(failure);
          await use.catch(() => undefined);
        },
      });
      const failure = await returned.promise;
      if (failure !== null) throw failure;
    });
    use.catch(reject);
  });
}

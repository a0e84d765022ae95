import type { Connector } from '../../connectors/contract.ts';
import type { EndpointPool } from '../endpoints.ts';

/**
 * As `endpoints.use`, in a place under the endpoint's `limits.concurrency`: for steps that work on one file. Throws the
 * signal's reason when it aborts before there is a place.
 */
export function useInTurn<Result>(
  endpoints: EndpointPool,
  { tenantId, endpoint }: { tenantId: string; endpoint: string },
  signal: AbortSignal,
  work: (connector: Connector) => Promise<Result>,
): Promise<Result> {
  return endpoints.use(tenantId, endpoint, async (connector, { gate }) => {
    const leave = await gate.enter(signal);
    try {
      return await work(connector);
    } finally {
      leave();
    }
  });
}

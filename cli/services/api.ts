import { createApi } from '../../api/server.ts';
import type { Log } from '../../connectors/contract.ts';
import { WaybillError } from '../../schema/errors.ts';
import type { ServiceSettings } from '../settings.ts';
import { packageVersion } from '../version.ts';
import { connectTemporal, openFoundation } from './foundation.ts';
import type { RunningService } from './process.ts';

/** The API as a service: waits for PostgreSQL and Temporal, then listens. Throws conflict when its port is taken. */
export async function startApiService(
  settings: ServiceSettings,
  log: Log,
  signal: AbortSignal,
): Promise<RunningService> {
  const foundation = await openFoundation(settings, log, signal);
  const temporal = await connectTemporal(settings, foundation, log, signal);
  const api = await createApi({
    ...foundation,
    temporal,
    namespace: settings.temporalNamespace,
    temporalUiUrl: settings.temporalUiUrl,
    codecToken: settings.codecToken,
    log,
    version: packageVersion(),
  });
  const { url } = await api
    .listen({ host: settings.host, port: settings.port })
    .catch((cause: NodeJS.ErrnoException) => {
      const where = `port ${settings.port} on ${settings.host} (WAYBILL_PORT)`;
      throw cause.code === 'EADDRINUSE' ? new WaybillError('conflict', `${where} is taken`, { cause }) : cause;
    });
  return {
    facts: { url },
    done: new Promise(() => undefined),
    async stop() {
      await api.close();
      await temporal.connection.close();
      await foundation.close();
    },
  };
}

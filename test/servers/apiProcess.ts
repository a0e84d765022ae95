import type { ChildMessage } from '../../cli/supervisor/child.ts';
import { startWaybill } from '../commandLine.ts';
import { testMasterKey } from '../keys.ts';
import type { TestDatabase } from './database.ts';
import type { TestTemporal } from './temporal.ts';

export interface ApiProcess {
  /** Of its GraphQL. */
  url: string;
  stop(): Promise<void>;
}

/** `waybill api` as a process of its own, over the database of a test. Throws with what it says when it does not start. */
export async function startApiProcess(
  { applicationUrl, systemUrl }: Pick<TestDatabase, 'applicationUrl' | 'systemUrl'>,
  { address }: Pick<TestTemporal, 'address'>,
): Promise<ApiProcess> {
  const { child, ended } = startWaybill(['api'], {
    environment: {
      DATABASE_URL: applicationUrl,
      DATABASE_SYSTEM_URL: systemUrl,
      TEMPORAL_ADDRESS: address,
      WAYBILL_MASTER_KEY: testMasterKey.toString('base64'),
      WAYBILL_PORT: '0',
    },
  });
  const url = await new Promise<string>((resolve, reject) => {
    child.on('message', (message: ChildMessage) => {
      if ('ready' in message) resolve(String(message.ready.url));
    });
    void ended.then(({ stderr }) => reject(new Error(stderr)));
  });
  return {
    url: new URL('/graphql', url).href,
    stop: async () => {
      child.kill('SIGTERM');
      await ended;
    },
  };
}

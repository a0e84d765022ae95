/**
 * An API that has its process to itself: `node bench/apiProcess.ts '{"applicationUrl","remembers"}'`. Says where it listens
 * to the process that forked it, and ends with it.
 */
import { once } from 'node:events';
import { Client, Connection } from '@temporalio/client';
import { createApi } from '../api/server.ts';
import { createRegistry } from '../connectors/registry.ts';
import { noHostSecrets } from '../identity/hostSecrets.ts';
import { createMasterKeys } from '../identity/keys/masterKeys.ts';
import { createTenantKeys } from '../identity/keys/tenantKeys.ts';
import { createSecretBox } from '../identity/secrets.ts';
import { createDialler } from '../network/dialler.ts';
import type { Store } from '../prisma/contract.ts';
import { openStore } from '../prisma/store.ts';

export interface ApiTerms {
  applicationUrl: string;
  /** It asks the database once where a credential leads and what it is good for. */
  remembers: boolean;
}

const { applicationUrl, remembers }: ApiTerms = JSON.parse(process.argv[2]!);
const silent = { debug() {}, info() {}, warn() {}, error() {} };
const opened = openStore({ applicationUrl, log: silent });
const store = remembers ? remembered(opened) : opened;
const connection = Connection.lazy({ address: '127.0.0.1:1' });
const dialler = createDialler({ loopback: true, allow: [] });
const tenantKeys = createTenantKeys(store, createMasterKeys(Buffer.alloc(32)));
const api = await createApi({
  ...{ store, log: silent, namespace: 'default', temporalUiUrl: null, codecToken: null, version: 'bench' },
  tenantKeys,
  secretBox: createSecretBox(tenantKeys),
  temporal: new Client({ connection }),
  registry: createRegistry(),
  hostSecrets: noHostSecrets,
  connectorContext: { dialler, localRoots: [], log: silent },
});
const { url } = await api.listen({ host: '127.0.0.1', port: 0 });
const alone = once(process, 'disconnect');
process.send!(url);
await alone;
await api.close();
await dialler.close();
await connection.close();
await opened.close();

function remembered(store: Store): Store {
  const answers = new Map<string, Promise<unknown>>();
  const lookOnce = <Answer>(key: string, look: () => Promise<Answer>): Promise<Answer> => {
    const known = answers.get(key) ?? look();
    answers.set(key, known);
    return known as Promise<Answer>;
  };
  return {
    ...store,
    findCredential: (kind, hash) => lookOnce(`${kind} ${hash.toString('hex')}`, () => store.findCredential(kind, hash)),
    look: (tenantId, statement, values) =>
      lookOnce(JSON.stringify([tenantId, statement, values]), () => store.look(tenantId, statement, values)) as never,
  };
}

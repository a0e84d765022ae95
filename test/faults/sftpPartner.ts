import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { startProxy } from '../servers/proxy.ts';
import { startSshd } from '../servers/sshd.ts';
import { type Partner, removeUnlessGiven } from './passage.ts';

/** An OpenSSH server behind a proxy. */
export async function startSftpPartner(): Promise<Partner> {
  const home = await mkdtemp(path.join(tmpdir(), 'waybill-faults-'));
  const server = await startSshd({ root: home });
  const proxy = await startProxy(server);
  const { host, username, hostKeys, privateKey } = server;
  return {
    proxy,
    async ground(folder) {
      const root = folder ?? (await mkdtemp(path.join(home, 'ground-')));
      const config = { host, port: proxy.port, username, root, hostKeys };
      return {
        folder: root,
        connector: 'sftp',
        config,
        secrets: { privateKey },
        remove: () => removeUnlessGiven(root, folder),
      };
    },
    async stop() {
      await proxy.stop();
      await server.stop();
      await rm(home, { recursive: true, force: true });
    },
  };
}

import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import ssh2 from 'ssh2';
import type { Faults } from '../../connectors/conformance/faults.ts';
import type { ConnectorContext } from '../../connectors/contract.ts';
import { openSftp } from '../../connectors/sftp/connector.ts';
import { sftpPatience } from '../../connectors/sftp/settings.ts';
import { mountSmall, whyNoFilesystem } from '../servers/filesystem.ts';
import { startProxy } from '../servers/proxy.ts';
import type { Sshd } from '../servers/sshd.ts';
import type { Arranged } from './withFaults.ts';

const impatient = {
  ...sftpPatience,
  connectTimeoutMs: 1_500,
  signInTimeoutMs: 3_000,
  answerTimeoutMs: 1_500,
  closeTimeoutMs: 200,
};
/** The patience, and time to notice on a busy machine. */
const deadlineMs = 6_000;
const otherHostKey = `SHA256:${'A'.repeat(43)}`;

/** What can go wrong at an OpenSSH server, for group G of the conformance suite; `root` is that of the endpoint under test. */
export async function openSftpFaults(
  server: Pick<Sshd, 'host' | 'port' | 'username' | 'privateKey' | 'hostKeyFingerprint'>,
  root: string,
  context: ConnectorContext,
): Promise<Arranged> {
  const proxy = await startProxy(server);
  const open = (changes: object = {}, privateKey = server.privateKey) => {
    const { host, port, username, hostKeyFingerprint } = server;
    const settings = { host, port, username, root, hostKeys: [hostKeyFingerprint], connections: 1, ...changes };
    return openSftp(settings, { privateKey }, context, impatient);
  };
  const faults: Faults = {
    line: { connector: open({ port: proxy.port }), proxy, deadlineMs },
    wrongSecret: open({}, ssh2.utils.generateKeyPairSync('ed25519').private),
    changedHostKey: open({ hostKeys: [otherHostKey] }),
  };
  const disks = (await whyNoFilesystem()) === undefined ? [await mountSmall('6m'), await mountSmall('1m')] : [];
  const [full, readOnly] = disks;
  if (full && readOnly) {
    await mkdir(path.join(full.folder, 'root'));
    await writeFile(path.join(readOnly.folder, 'there.txt'), 'there');
    await readOnly.makeReadOnly();
    faults.fullDisk = open({ root: path.join(full.folder, 'root') });
    faults.readOnly = open({ root: readOnly.folder });
  }
  return {
    faults,
    async close() {
      const { line, wrongSecret, changedHostKey, fullDisk, readOnly } = faults;
      for (const connector of [line?.connector, wrongSecret, changedHostKey, fullDisk, readOnly])
        await connector?.close();
      await proxy.stop();
      for (const disk of disks) await disk.remove();
    },
  };
}

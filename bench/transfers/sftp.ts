import { join } from 'node:path';
import { type Sshd, startSshd } from '../../test/servers/sshd.ts';
import type { DocumentSecret } from '../installation.ts';
import { type Contestant, duel } from './duel.ts';
import { emptied, makeLarge, makeSmall } from './files.ts';
import { type Bench, copyPipeline, localEndpoint, type Part } from './part.ts';
import { opensshSftp, type RcloneRemotes, rcloneCopy, rcloneSftp } from './peers.ts';
import { perSecond, sizesOf } from './sizes.ts';

export const sftpUp = large('sftp-up', 'up');
export const sftpDown = large('sftp-down', 'down');
export const sftpSmallUp = small('sftp-small-up', 'up');
export const sftpSmallDown = small('sftp-small-down', 'down');

type Direction = 'up' | 'down';

/** Files of rclone under way together: more gain nothing over loopback. */
const transfersOfSmall = 32;

function large(name: string, direction: Direction): Part {
  return {
    name,
    summary: `one large file ${direction}, beside rclone and OpenSSH's sftp (${name}.openssh)`,
    diskBytes: (quick) => 4 * sizesOf(quick).largeBytes,
    async measure(bench) {
      const { largeBytes } = sizesOf(bench.quick);
      await makeLarge(join(bench.folder, direction, 'one.bin'), largeBytes);
      const { ours, rclone, openssh } = await compare(bench, name, direction, 1);
      return [
        { name, ...perSecond(largeBytes / 1e6, ours, rclone), unit: 'MB/s' },
        { name: `${name}.openssh`, ...perSecond(largeBytes / 1e6, ours, openssh), unit: 'MB/s' },
      ];
    },
  };
}

function small(name: string, direction: Direction): Part {
  return {
    name,
    summary: `many files of 10 KiB ${direction}, beside rclone and OpenSSH's sftp (${name}.openssh)`,
    diskBytes: (quick) => 8 * sizesOf(quick).smallFiles * sizesOf(quick).smallBytes,
    async measure(bench) {
      const { smallFiles, smallBytes } = sizesOf(bench.quick);
      await makeSmall(join(bench.folder, direction), smallFiles, smallBytes);
      const { ours, rclone, openssh } = await compare(bench, name, direction, smallFiles);
      return [
        { name, ...perSecond(smallFiles, ours, rclone), unit: 'files/s' },
        { name: `${name}.openssh`, ...perSecond(smallFiles, ours, openssh), unit: 'files/s' },
      ];
    },
  };
}

/** The server's root is the part's folder: all three take from one folder, and each puts into its own. */
async function compare(bench: Bench, name: string, direction: Direction, files: number) {
  const { folder, quick, say } = bench;
  const server = await startSshd({ root: folder });
  try {
    const local = `${name}-local`;
    const remote = `${name}-remote`;
    const endpoints = direction === 'up' ? { here: local, there: remote } : { here: remote, there: local };
    await bench.apply(
      [
        localEndpoint(local, folder),
        sftpEndpoint(remote, server),
        copyPipeline(name, endpoints, `here:/${direction}/*`, 'there:/ours/'),
      ],
      sftpSecrets(remote, server),
    );
    const remotes = await rcloneSftp(server, folder);
    return await duel(
      {
        ours: into(join(folder, 'ours'), () => bench.run(name, files)),
        rclone: into(join(folder, 'rclone'), () => byRclone(folder, direction, files, remotes)),
        openssh: into(join(folder, 'openssh'), () => byOpenssh(folder, direction, server)),
      },
      { rounds: sizesOf(quick).rounds, say },
    );
  } finally {
    await server.stop();
  }
}

function into(folder: string, work: () => Promise<unknown>): Contestant {
  return { clean: () => emptied(folder), work };
}

function byRclone(folder: string, direction: Direction, files: number, remotes: RcloneRemotes): Promise<void> {
  const [from, to] = [join(folder, direction), join(folder, 'rclone')];
  const terms = { remotes, transfers: files === 1 ? 1 : transfersOfSmall };
  return direction === 'up' ? rcloneCopy(from, `sftp:${to}`, terms) : rcloneCopy(`sftp:${from}`, to, terms);
}

/** With `-f` it syncs each file before it closes it, as we do. */
function byOpenssh(folder: string, direction: Direction, server: Sshd): Promise<void> {
  const verb = direction === 'up' ? 'put' : 'get';
  return opensshSftp(server, folder, `${verb} -f -r ${join(folder, direction)} ${join(folder, 'openssh')}`);
}

export function sftpEndpoint(name: string, server: Sshd): string {
  const { host, port, username, root, hostKeys } = server;
  return `endpoint: ${name}
apiVersion: waybill/v1
connector: sftp
config: { host: ${host}, port: ${port}, username: ${username}, root: ${root}, hostKeys: ["${hostKeys[0]}"] }
secrets: { privateKey: { file: ./key } }
`;
}

export function sftpSecrets(name: string, server: Sshd): DocumentSecret[] {
  return [{ kind: 'endpoint', name, secret: 'privateKey', value: server.privateKey }];
}

import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { startSshd } from '../../test/servers/sshd.ts';
import { startVersitygw, type Versitygw } from '../../test/servers/versitygw.ts';
import type { DocumentSecret } from '../installation.ts';
import { duel } from './duel.ts';
import { emptied, makeLarge, makeSmall } from './files.ts';
import { type Bench, copyPipeline, localEndpoint, type Part } from './part.ts';
import { type RcloneTerms, rcloneCopy, rcloneMakeBucket, rcloneS3, rcloneSftp } from './peers.ts';
import { sftpEndpoint, sftpSecrets } from './sftp.ts';
import { perSecond, sizesOf } from './sizes.ts';

const bucket = 'bench';
const transfersOfSmall = 64;

export const s3Up: Part = {
  name: 's3-up',
  summary: 'one large file into a bucket, beside rclone',
  diskBytes: (quick) => 5 * sizesOf(quick).largeBytes,
  async measure(bench) {
    const { largeBytes } = sizesOf(bench.quick);
    await makeLarge(join(bench.folder, 'from/one.bin'), largeBytes);
    const { ours, peer } = await withBucket((server) => upload(bench, 's3-up', server, 1));
    return [{ name: 's3-up', ...perSecond(largeBytes / 1e6, ours, peer), unit: 'MB/s' }];
  },
};

export const s3SmallUp: Part = {
  name: 's3-small-up',
  summary: 'many files of 10 KiB into a bucket, beside rclone',
  diskBytes: (quick) => 10 * sizesOf(quick).smallFiles * sizesOf(quick).smallBytes,
  async measure(bench) {
    const { smallFiles, smallBytes } = sizesOf(bench.quick);
    await makeSmall(join(bench.folder, 'from'), smallFiles, smallBytes);
    const { ours, peer } = await withBucket((server) => upload(bench, 's3-small-up', server, smallFiles));
    return [{ name: 's3-small-up', ...perSecond(smallFiles, ours, peer), unit: 'files/s' }];
  },
};

export const s3Down: Part = {
  name: 's3-down',
  summary: 'one large file out of a bucket, beside rclone',
  diskBytes: (quick) => 5 * sizesOf(quick).largeBytes,
  measure: (bench) =>
    withBucket(async (server) => {
      const { largeBytes, rounds } = sizesOf(bench.quick);
      const { folder, say } = bench;
      const [ours, peers] = [join(folder, 'ours'), join(folder, 'rclone')];
      await makeLarge(join(folder, 'from/one.bin'), largeBytes);
      const terms = { remotes: rcloneS3(server), transfers: 1 };
      // Put there by the gateway: it keeps facts of an object beside it.
      await rcloneCopy(join(folder, 'from'), `s3:${bucket}/from`, terms);
      const endpoints = { here: 's3-down-bucket', there: 's3-down-local' };
      await bench.apply(
        [
          s3Endpoint(endpoints.here, server),
          localEndpoint(endpoints.there, folder),
          copyPipeline('s3-down', endpoints, 'here:/from/*', 'there:/ours/'),
        ],
        s3Secrets(endpoints.here, server),
      );
      const times = await duel(
        {
          ours: { clean: () => emptied(ours), work: () => bench.run('s3-down', 1) },
          peer: { clean: () => emptied(peers), work: () => rcloneCopy(`s3:${bucket}/from`, peers, terms) },
        },
        { rounds, say },
      );
      return [{ name: 's3-down', ...perSecond(largeBytes / 1e6, times.ours, times.peer), unit: 'MB/s' }];
    }),
};

export const sftpToS3: Part = {
  name: 'sftp-to-s3',
  summary: 'one large file from an SFTP server into a bucket, beside rclone',
  diskBytes: (quick) => 5 * sizesOf(quick).largeBytes,
  measure: (bench) =>
    withBucket(async (server) => {
      const { folder, quick, say } = bench;
      const { largeBytes, rounds } = sizesOf(quick);
      await makeLarge(join(folder, 'from/one.bin'), largeBytes);
      const partner = await startSshd({ root: folder });
      try {
        const endpoints = { here: 'sftp-to-s3-partner', there: 'sftp-to-s3-bucket' };
        await bench.apply(
          [
            sftpEndpoint(endpoints.here, partner),
            s3Endpoint(endpoints.there, server),
            copyPipeline('sftp-to-s3', endpoints, 'here:/from/*', 'there:/ours/'),
          ],
          [...sftpSecrets(endpoints.here, partner), ...s3Secrets(endpoints.there, server)],
        );
        const remotes = { ...rcloneS3(server), ...(await rcloneSftp(partner, folder)) };
        const byRclone = () =>
          rcloneCopy(`sftp:${join(folder, 'from')}`, `s3:${bucket}/rclone`, { remotes, transfers: 1 });
        const { ours, peer } = await duel(
          {
            ours: { clean: () => removeObjects(server, 'ours'), work: () => bench.run('sftp-to-s3', 1) },
            peer: { clean: () => removeObjects(server, 'rclone'), work: byRclone },
          },
          { rounds, say },
        );
        return [{ name: 'sftp-to-s3', ...perSecond(largeBytes / 1e6, ours, peer), unit: 'MB/s' }];
      } finally {
        await partner.stop();
      }
    }),
};

async function upload(bench: Bench, name: string, server: Versitygw, files: number) {
  const { folder, quick, say } = bench;
  const endpoints = { here: `${name}-local`, there: `${name}-bucket` };
  await bench.apply(
    [
      localEndpoint(endpoints.here, folder),
      s3Endpoint(endpoints.there, server),
      copyPipeline(name, endpoints, 'here:/from/*', 'there:/ours/'),
    ],
    s3Secrets(endpoints.there, server),
  );
  const terms: RcloneTerms = { remotes: rcloneS3(server), transfers: files === 1 ? 1 : transfersOfSmall };
  return duel(
    {
      ours: { clean: () => removeObjects(server, 'ours'), work: () => bench.run(name, files) },
      peer: {
        clean: () => removeObjects(server, 'rclone'),
        work: () => rcloneCopy(join(folder, 'from'), `s3:${bucket}/rclone`, terms),
      },
    },
    { rounds: sizesOf(quick).rounds, say },
  );
}

async function withBucket<Result>(work: (server: Versitygw) => Promise<Result>): Promise<Result> {
  const server = await startVersitygw();
  try {
    await rcloneMakeBucket(bucket, rcloneS3(server));
    return await work(server);
  } finally {
    await server.stop();
  }
}

/** From below the gateway, which reads its folder afresh. */
async function removeObjects(server: Versitygw, prefix: string): Promise<void> {
  await rm(join(server.folder, bucket, prefix), { recursive: true, force: true });
}

function s3Endpoint(name: string, { endpoint, region, accessKeyId }: Versitygw): string {
  return `endpoint: ${name}
apiVersion: waybill/v1
connector: s3
config: { endpoint: "${endpoint}", region: ${region}, bucket: ${bucket}, accessKeyId: ${accessKeyId}, pathStyle: true }
secrets: { secretAccessKey: { file: ./key } }
`;
}

function s3Secrets(name: string, { secretAccessKey }: Versitygw): DocumentSecret[] {
  return [{ kind: 'endpoint', name, secret: 'secretAccessKey', value: secretAccessKey }];
}

import { mkdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { CreateBucketCommand } from '@aws-sdk/client-s3';
import type { Faults } from '../../connectors/conformance/faults.ts';
import type { ConnectorContext } from '../../connectors/contract.ts';
import { openS3 } from '../../connectors/s3/connector.ts';
import { readSettings, s3Patience } from '../../connectors/s3/settings.ts';
import { mountSmall, type SmallFilesystem, whyNoFilesystem } from '../servers/filesystem.ts';
import { startProxy } from '../servers/proxy.ts';
import type { S3Bucket } from '../servers/s3.ts';
import { startVersitygw, type Versitygw } from '../servers/versitygw.ts';
import { startExpired } from './expired.ts';
import type { Arranged } from './withFaults.ts';

const impatient = {
  ...s3Patience,
  startTimeoutMs: 3_000,
  answerTimeoutMs: 3_000,
  slowAnswerTimeoutMs: 3_000,
  slowestBytesPerSecond: 2_097_152,
};
/** The patience, and time to notice on a busy machine. */
const deadlineMs = 6_000;
const retryAfterSeconds = 7;
const smallDisk = 'small-disk';

/** What can go wrong at an S3 server, for group G of the conformance suite; the endpoint under test is the server's whole bucket. */
export async function openS3Faults(server: S3Bucket, context: ConnectorContext): Promise<Arranged> {
  const proxy = await startProxy(server);
  const expired = await startExpired();
  const busy = await startBusy();
  const readOnly = await startReadOnly(server.bucket);
  const { region, accessKeyId, secretAccessKey } = server;
  const open = (endpoint: string, secrets: { ca?: string; secretAccessKey?: string } = {}, bucket = server.bucket) =>
    openS3(
      readSettings({ endpoint, region, bucket }),
      { accessKeyId, secretAccessKey, ...secrets },
      context,
      impatient,
    );
  const faults: Faults = {
    line: { connector: open(`http://127.0.0.1:${proxy.port}`), proxy, deadlineMs },
    wrongSecret: open(server.endpoint, { secretAccessKey: 'not-that-one' }),
    expiredCertificate: open(`https://127.0.0.1:${expired.port}`, { ca: expired.ca }),
    readOnly: open(readOnly.endpoint),
    busy: { connector: open(`http://127.0.0.1:${busy.port}`), retryAfterMs: retryAfterSeconds * 1000 },
  };
  const disks: SmallFilesystem[] = [];
  if ((await whyNoFilesystem()) === undefined) {
    await server.client.send(new CreateBucketCommand({ Bucket: smallDisk }));
    disks.push(await mountSmall('6m', path.join(server.folder, smallDisk)));
    faults.fullDisk = open(server.endpoint, {}, smallDisk);
  }
  return {
    faults,
    async close() {
      const { line, busy: asked, ...others } = faults;
      const single = [others.wrongSecret, others.expiredCertificate, others.fullDisk, others.readOnly];
      for (const connector of [line?.connector, asked?.connector, ...single]) await connector?.close();
      await proxy.stop();
      await expired.stop();
      await readOnly.stop();
      await busy.stop();
      for (const disk of disks) await disk.remove();
    },
  };
}

/** A gateway that its operator has made read-only; of a read-only disk it says only that it failed. */
async function startReadOnly(bucket: string): Promise<Versitygw> {
  const server = await startVersitygw(['--readonly']);
  await mkdir(path.join(server.folder, bucket));
  await writeFile(path.join(server.folder, bucket, 'there.txt'), 'there');
  return server;
}

/** A server under load, as S3 says it. */
async function startBusy(): Promise<{ port: number; stop(): Promise<void> }> {
  const server = createServer((request, response) => {
    request.resume();
    request.on('end', () => {
      response.writeHead(503, { 'content-type': 'application/xml', 'retry-after': String(retryAfterSeconds) });
      response.end('<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

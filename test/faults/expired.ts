import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { makeCertificates } from '../servers/certificates.ts';
import { startVersitygw } from '../servers/versitygw.ts';

/** An S3 server whose certificate has expired; `ca` has signed it. */
export async function startExpired(): Promise<{ port: number; ca: string; stop(): Promise<void> }> {
  const { ca, expired } = await makeCertificates();
  const folder = await mkdtemp(path.join(tmpdir(), 'waybill-expired-'));
  const files = { cert: path.join(folder, 'certificate.pem'), key: path.join(folder, 'key.pem') };
  await writeFile(files.cert, expired.certificate);
  await writeFile(files.key, expired.key, { mode: 0o600 });
  const server = await startVersitygw(['--cert', files.cert, '--key', files.key]);
  return {
    port: server.port,
    ca,
    async stop() {
      await server.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

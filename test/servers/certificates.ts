import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** An authority of our own, and what it has signed. All texts are in PEM format. */
export interface Certificates {
  ca: string;
  /** For 127.0.0.1 and localhost. */
  server: { certificate: string; key: string };
  /** For another name. */
  stranger: { certificate: string; key: string };
  /** For 127.0.0.1 and localhost, until yesterday. */
  expired: { certificate: string; key: string };
  client: { certificate: string; key: string };
}

/** Makes them with the `openssl` of the machine. */
export async function makeCertificates(): Promise<Certificates> {
  const folder = await mkdtemp(join(tmpdir(), 'waybill-certificates-'));
  const openssl = (...words: string[]) => run('openssl', words, { cwd: folder });
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const issue = async (name: string, extension: string, days = '2') => {
    await writeFile(join(folder, `${name}.ext`), extension);
    await openssl('req', ...newKey, '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', `/CN=${name}`);
    const signer = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', days, '-extfile', `${name}.ext`];
    await openssl('x509', '-req', '-in', `${name}.csr`, '-out', `${name}.pem`, ...signer);
    const [certificate, key] = await Promise.all(
      ['pem', 'key'].map((end) => readFile(join(folder, `${name}.${end}`), 'utf8')),
    );
    return { certificate: certificate!, key: key! };
  };
  try {
    await openssl(
      'req',
      '-x509',
      ...newKey,
      '-keyout',
      'ca.key',
      '-out',
      'ca.pem',
      '-days',
      '2',
      '-subj',
      '/CN=Authority of a test',
    );
    return {
      ca: await readFile(join(folder, 'ca.pem'), 'utf8'),
      server: await issue('server', 'subjectAltName=IP:127.0.0.1,DNS:localhost'),
      expired: await issue('expired', 'subjectAltName=IP:127.0.0.1,DNS:localhost', '-1'),
      stranger: await issue('stranger', 'subjectAltName=DNS:other.example'),
      client: await issue('client', 'extendedKeyUsage=clientAuth'),
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

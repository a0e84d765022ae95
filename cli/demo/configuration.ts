import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { Partner } from './partner.ts';

/** Writes the two endpoints and the webhook of the demo, as an engineer would, and gives the folder's path. */
export async function writeDemoConfiguration(
  folder: string,
  demo: { partner: Omit<Partner, 'stop'>; landingFolder: string; webhookUrl: string; signingSecret: string },
): Promise<string> {
  const { partner } = demo;
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await writeFile(join(folder, 'acme_ed25519'), partner.privateKey, { mode: 0o600 });
  await writeFile(join(folder, 'whsec'), `${demo.signingSecret}\n`, { mode: 0o600 });
  const documents = [
    {
      endpoint: 'acme-sftp',
      apiVersion: 'waybill/v1',
      connector: 'sftp',
      config: {
        host: partner.host,
        port: partner.port,
        username: partner.username,
        root: partner.root,
        hostKeys: [partner.hostKeyFingerprint],
      },
      secrets: { privateKey: { file: './acme_ed25519' } },
    },
    { endpoint: 'landing-zone', apiVersion: 'waybill/v1', connector: 'local', config: { root: demo.landingFolder } },
    {
      webhook: 'orders',
      apiVersion: 'waybill/v1',
      url: demo.webhookUrl,
      events: ['orders.*', 'run.failed'],
      secrets: { signing: { file: './whsec' } },
    },
  ];
  await writeFile(join(folder, 'acme.yaml'), documents.map((document) => stringify(document)).join('---\n'));
  return folder;
}

import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';

const kib = 1024;
const mib = 1024 * kib;
const chunkBytes = mib;

/** What ACME leaves in /out: nothing to 64 MiB, under the names that break careless programs. */
export const demoFiles: readonly { name: string; bytes: number }[] = [
  { name: 'orders-2026-11-02.csv', bytes: 18 * kib },
  { name: 'orders 2026-11-02 (copy).csv', bytes: 18 * kib },
  { name: 'empty.csv', bytes: 0 },
  { name: 'one-byte.csv', bytes: 1 },
  { name: `it's quoted.csv`, bytes: 733 },
  { name: '"double quoted".csv', bytes: 734 },
  { name: 'invoice #42.csv', bytes: 4 * kib },
  { name: '100% complete.csv', bytes: 5 * kib },
  { name: 'percent%20encoded.csv', bytes: 6 * kib },
  { name: 'a&b=c;d.csv', bytes: 2 * kib },
  { name: 'Bestellungen für Müller.csv', bytes: 31 * kib },
  { name: '注文書.csv', bytes: 32 * kib },
  { name: 'заказы.csv', bytes: 33 * kib },
  { name: 'παραγγελίες.csv', bytes: 34 * kib },
  { name: 'طلبات.csv', bytes: 35 * kib },
  { name: '주문 목록.csv', bytes: 36 * kib },
  { name: 'emoji 📦.csv', bytes: 300 },
  { name: '-rf.csv', bytes: 12 },
  { name: '$HOME `date`.csv', bytes: 13 },
  { name: `${'long-name-'.repeat(25)}x.csv`, bytes: 255 },
  { name: 'block.csv', bytes: 256 * kib },
  { name: 'block-and-one.csv', bytes: 256 * kib + 1 },
  { name: 'catalogue.csv', bytes: 8 * mib },
  { name: 'archive.csv', bytes: 64 * mib },
];

/** Writes them below `folder`, with random content, so that no two of them are alike. */
export async function writeDemoFiles(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  const block = randomBytes(chunkBytes);
  for (const [index, { name, bytes }] of demoFiles.entries()) {
    const file = await open(join(folder, name), 'w');
    try {
      for (let at = 0; at < bytes; at += chunkBytes) {
        block.writeUInt32LE(index, 0);
        block.writeUInt32LE(at, 4);
        await file.write(block, 0, Math.min(chunkBytes, bytes - at));
      }
    } finally {
      await file.close();
    }
  }
}

/** SHA-256 of a file, in hexadecimal digits. */
export async function sha256Of(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}

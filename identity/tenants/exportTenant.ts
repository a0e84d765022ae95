import { createHash } from 'node:crypto';
import { type FileHandle, mkdir, open, readdir } from 'node:fs/promises';
import path from 'node:path';
import { recordEvents } from '../../audit/record.ts';
import type { Store } from '../../prisma/contract.ts';
import { readTenant, type TenantSnapshot } from '../../prisma/tenantRows.ts';
import type { TenantTable } from '../../prisma/tenantTables.ts';
import { asWaybillError, type ErrorKind, WaybillError } from '../../schema/errors.ts';
import type { Tenant } from './findTenant.ts';

/** What `manifest.json` of an export says. */
export interface ExportManifest {
  format: 1;
  tenant: { id: string; name: string };
  exportedAt: string;
  files: ExportedFile[];
  /** Columns that are in no file, by table. */
  leftOut: Record<string, string[]>;
}

export interface ExportedFile {
  table: string;
  file: string;
  rows: number;
  bytes: number;
  sha256: string;
}

/**
 * Writes everything of a tenant but its secrets into a folder: a file of JSON lines for each table, as they were at one
 * moment, `SHA256SUMS` for `sha256sum -c`, and last of all `manifest.json`: an export without one is not whole. `owner`
 * and `ownerUrl` are of the role that owns the tables. Throws conflict for a folder that holds something, and as files and
 * the database do.
 */
export async function exportTenant(
  { owner, ownerUrl }: { owner: Store; ownerUrl: string },
  tenant: Tenant,
  folder: string,
): Promise<ExportManifest> {
  await onDisk(folder, () => makeEmpty(folder));
  const exportedAt = new Date().toISOString();
  const leftOut: ExportManifest['leftOut'] = {};
  const files = await readTenant(ownerUrl, tenant.id, async (snapshot) => {
    const written: ExportedFile[] = [];
    for (const table of snapshot.tables.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
      const secrets = secretColumns(table);
      if (secrets.length > 0) leftOut[table.name] = secrets;
      written.push(await writeTable(snapshot, table, folder));
    }
    return written;
  });
  const manifest: ExportManifest = {
    format: 1,
    tenant: { id: tenant.id, name: tenant.name },
    exportedAt,
    files,
    leftOut,
  };
  const sums = files.map(({ sha256, file }) => `${sha256}  ${file}\n`).join('');
  await onDisk(folder, async () => {
    await writeWhole(path.join(folder, 'SHA256SUMS'), sums);
    await writeWhole(path.join(folder, 'manifest.json'), `${JSON.stringify(manifest, null, 2)}\n`);
  });
  const data = { rows: files.reduce((sum, { rows }) => sum + rows, 0), tables: files.length };
  await owner.sql(tenant.id, (sql) =>
    recordEvents(sql, tenant.id, [{ type: 'tenant.exported', actor: { principalId: null }, data }]),
  );
  return manifest;
}

/** Bytes that are no secret: which file a delivery is about, and what was in it. All others stay here. */
const exportedBytes: readonly string[] = ['delivery.delivery_key', 'delivery.sha256', 'delivery_claim.delivery_key'];
/** What tells of a secret and is kept as text. */
const secretTexts: readonly string[] = ['principal_password.hash', 'secret.digest'];

/** Ciphertexts, hashes of credentials and wrapped keys: none of them leaves the database. */
function secretColumns({ name: table, columns }: TenantTable): string[] {
  return columns
    .filter(({ name, type }) => {
      const column = `${table}.${name}`;
      return secretTexts.includes(column) || (type === 'bytea' && !exportedBytes.includes(column));
    })
    .map(({ name }) => name);
}

async function writeTable(snapshot: TenantSnapshot, table: TenantTable, folder: string): Promise<ExportedFile> {
  const secrets = secretColumns(table);
  const columns = table.columns.map(({ name }) => name).filter((name) => !secrets.includes(name));
  const file = `${table.name}.jsonl`;
  const hash = createHash('sha256');
  let [rows, bytes] = [0, 0];
  const handle = await onDisk(folder, () => open(path.join(folder, file), 'wx', fileMode));
  try {
    for await (const piece of snapshot.read(table, columns)) {
      const text = Buffer.from(piece.text, 'utf8');
      await onDisk(folder, () => writeAll(handle, text));
      hash.update(text);
      rows += piece.rows;
      bytes += text.length;
    }
    await onDisk(folder, () => handle.sync());
  } finally {
    await handle.close();
  }
  return { table: table.name, file, rows, bytes, sha256: hash.digest('hex') };
}

/** For the eyes of who exports. */
const fileMode = 0o600;
const folderMode = 0o700;

async function makeEmpty(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: folderMode });
  const [found] = await readdir(folder);
  if (found !== undefined)
    throw new WaybillError('conflict', `${folder} holds ${found} already; name a folder that is empty or new`);
}

async function writeWhole(file: string, text: string): Promise<void> {
  const handle = await open(file, 'wx', fileMode);
  try {
    await writeAll(handle, Buffer.from(text, 'utf8'));
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** At the end of the file. Unlike a single write it goes on after a short one. */
async function writeAll(handle: FileHandle, bytes: Buffer): Promise<void> {
  for (let from = 0; from < bytes.length; ) from += (await handle.write(bytes, from)).bytesWritten;
}

const kindOfCode: Record<string, ErrorKind> = {
  ENOSPC: 'disk-full',
  EDQUOT: 'quota',
  EACCES: 'forbidden',
  EPERM: 'forbidden',
  EROFS: 'forbidden',
  EEXIST: 'conflict',
  ENOTDIR: 'invalid',
  ENAMETOOLONG: 'invalid',
};

/** What the file system says, with the folder: else it would be taken for what the database says. */
async function onDisk<Result>(folder: string, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof WaybillError) throw error;
    const code = (error as NodeJS.ErrnoException).code ?? '';
    const kind = kindOfCode[code];
    if (kind === undefined) throw asWaybillError(error);
    throw new WaybillError(kind, `${folder} cannot be written (${code})`, { cause: error });
  }
}

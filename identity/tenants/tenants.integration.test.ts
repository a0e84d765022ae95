import { createHash, randomUUID } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { recordEvents } from '../../audit/record.ts';
import type { Store } from '../../prisma/contract.ts';
import { tenantsWithRuns } from '../../prisma/ledger.ts';
import { openStore } from '../../prisma/store.ts';
import { removeRows, removeTenant } from '../../prisma/tenantRemoval.ts';
import { countRows, tenantTables } from '../../prisma/tenantTables.ts';
import { codeSpans, readPage, tableRows } from '../../test/documents.ts';
import { handToPlainOwner, type PlainOwner } from '../../test/plainOwner.ts';
import { particular, planted, plantRows } from '../../test/plantedRows.ts';
import { createTestDatabase, silentLog, type TestDatabase } from '../../test/servers/database.ts';
import { createApiKey, verifyApiKey } from '../apiKeys.ts';
import { checkStart } from '../grants.ts';
import { createPasswordHashing } from '../passwordHashing.ts';
import { findDefaultSite, findSite } from '../sites.ts';
import { createTenant } from './createTenant.ts';
import { type ExportManifest, exportTenant } from './exportTenant.ts';
import { findTenant } from './findTenant.ts';
import { resumeTenant, suspendTenant } from './suspendTenant.ts';

const hashing = createPasswordHashing();
let database: TestDatabase;
let plain: PlainOwner;
/** Of a role that owns the tables and is no superuser: the wall holds for it too. */
let owner: Store;
let folder: string;

beforeAll(async () => {
  database = await createTestDatabase();
  const administration = await createTestDatabase();
  plain = await handToPlainOwner(database, administration.asOwner);
  owner = openStore({ applicationUrl: plain.url, log: silentLog });
  folder = await mkdtemp(path.join(tmpdir(), 'waybill-tenants-'));
  return async () => {
    await owner.close();
    await database.drop();
    await plain.drop();
    await administration.drop();
    await rm(folder, { recursive: true, force: true });
  };
});

const create = (name: string, hosts: string[] = []) => createTenant(owner, hashing, { name, hosts });
const stateOf = async (tenantId: string): Promise<Record<string, number>> =>
  owner.sql(tenantId, async (sql) => countRows(sql, tenantId, await tenantTables(sql)));
const eventsOf = async (tenantId: string): Promise<string[]> =>
  (
    await owner.sql(tenantId, (sql) =>
      sql.query<{ type: string }>('select type from audit_event where tenant_id = $1::uuid order by created_at, id', [
        tenantId,
      ]),
    )
  ).map(({ type }) => type);

describe('a new tenant', () => {
  test('is reached under its name and its hosts, and has an owner with a one-time password', async () => {
    const { tenantId, principalId, oneTimePassword } = await create('north', ['Files.North.Example', 'north.example']);
    expect(oneTimePassword).toMatch(/^[A-Za-z0-9_-]{20}$/);
    for (const site of ['north', 'NORTH', 'files.north.example', 'north.example'])
      expect(await findSite(database.store, site), site).toBe(tenantId);
    expect(await findTenant(database.store, 'north')).toEqual({ id: tenantId, name: 'north', suspendedAt: null });
    // A host is no name to suspend or delete a tenant by.
    await expect(findTenant(database.store, 'north.example')).rejects.toMatchObject({ kind: 'not-found' });
    const [kept] = await database.asOwner(
      `select p.role, w.one_time, w.hash like '$argon2id$%' as hashed, array(select host from tenant_host h where h.tenant_id = p.tenant_id order by 1) as hosts
         from principal p join principal_password w using (tenant_id) where p.tenant_id = $1 and p.id = $2`,
      [tenantId, principalId],
    );
    expect(kept).toEqual({
      role: 'owner',
      one_time: true,
      hashed: true,
      hosts: ['files.north.example', 'north.example'],
    });
    expect(await eventsOf(tenantId)).toEqual(['tenant.created']);
    // Of requests that name no site it is not the tenant.
    expect(await findDefaultSite(database.store)).toBe(database.tenants.a.tenantId);
  });

  test('is refused when there is one of that name', async () => {
    await expect(create('tenant-a')).rejects.toMatchObject({
      kind: 'exists',
      message: 'there is a tenant tenant-a already',
    });
  });

  test('is refused when another one is reached under its name or host, and nothing of it stays', async () => {
    await create('taken', ['taken.example']);
    for (const [name, host] of [
      ['thief', 'taken.example'],
      ['thief', 'tenant-b'],
    ] as const)
      await expect(create(name, [host]), host).rejects.toMatchObject({ kind: 'conflict' });
    expect(await database.asOwner(`select from tenant where name = 'thief'`)).toHaveLength(0);
    expect(await findSite(database.store, 'thief')).toBeUndefined();
  });

  test.each(['', 'No', 'ab', 'default', '../x', 'a\u0000b', `a${'b'.repeat(63)}`])('is not called %j', async (name) => {
    await expect(create(name)).rejects.toMatchObject({ kind: 'invalid' });
  });

  test.each(['', 'https://x', 'x:80', '-x', 'x..y', 'x/y', 'a'.repeat(254)])('has no host %j', async (host) => {
    await expect(create('other', [host])).rejects.toMatchObject({ kind: 'invalid' });
  });
});

describe('a suspended tenant', () => {
  test('has no good key, which only who holds it learns, and has it again when it is resumed', async () => {
    const founded = await create('sleeper');
    const { secret } = await createApiKey(database.store, { ...founded, name: 'k', scopes: ['*'] });
    const first = await suspendTenant(owner, founded.tenantId, { cancelRuns: true });
    await expect(verifyApiKey(database.store, secret)).rejects.toMatchObject({
      kind: 'unauthenticated',
      message: 'the API key belongs to a suspended tenant',
      context: { code: 'TENANT_SUSPENDED' },
    });
    const guessed = `${secret.slice(0, -1)}${secret.endsWith('0') ? '1' : '0'}`;
    await expect(verifyApiKey(database.store, guessed)).rejects.toMatchObject({ message: 'the API key is not valid' });
    expect(await suspendTenant(owner, founded.tenantId, { cancelRuns: true })).toEqual(first);
    expect(await resumeTenant(owner, founded.tenantId)).toBe(true);
    expect(await resumeTenant(owner, founded.tenantId)).toBe(false);
    expect((await verifyApiKey(database.store, secret)).tenantName).toBe('sleeper');
    expect(await eventsOf(founded.tenantId)).toEqual(['tenant.created', 'tenant.suspended', 'tenant.resumed']);
  });

  test('ends its sessions and asks its runs to end, each with an event, and those of nobody else', async () => {
    const { tenantId, principalId } = await create('busy');
    for (const tenant of [{ tenantId, principalId }, database.tenants.b]) await beginRun(tenant);
    const { sessions, runs } = await suspendTenant(owner, tenantId, { cancelRuns: true });
    expect([sessions, runs.map(({ pipelineName }) => pipelineName)]).toEqual([1, ['endless']]);
    expect(await eventsOf(tenantId)).toEqual([
      'tenant.created',
      'session.closed',
      'tenant.suspended',
      'run.cancel-requested',
    ]);
    const asked = `select r.cancel_requested_at is not null and s.ended_at is not null as ended
                     from run r join session s using (tenant_id) where tenant_id = $1`;
    expect(await database.asOwner(asked, [tenantId])).toEqual([{ ended: true }]);
    expect(await database.asOwner(asked, [database.tenants.b.tenantId])).toEqual([{ ended: false }]);
  });

  test('stays open when runs go on that are not to be cancelled', async () => {
    const founded = await create('careful');
    await beginRun(founded);
    await expect(suspendTenant(owner, founded.tenantId, { cancelRuns: false })).rejects.toMatchObject({
      kind: 'conflict',
      message: '1 runs of the tenant go on; wait for them, or cancel them',
    });
    expect((await findTenant(database.store, 'careful')).suspendedAt).toBeNull();
    expect(await eventsOf(founded.tenantId)).toEqual(['tenant.created']);
  });

  test('begins no run', async () => {
    const { tenantId, principalId } = await create('still');
    const use = { publisherId: principalId, as: null, application: 10, endpoints: [] };
    const start = () => database.store.sql(tenantId, (sql) => checkStart(sql, tenantId, use));
    expect(await start()).toMatchObject({ principalId });
    await suspendTenant(owner, tenantId, { cancelRuns: true });
    await expect(start()).rejects.toMatchObject({ kind: 'forbidden', message: expect.stringContaining('suspended') });
  });

  test('is not swept', async () => {
    const founded = await create('unswept');
    await beginRun(founded);
    const swept = () => database.store.system((sql) => tenantsWithRuns(sql, { days: 14, from: null, most: 1_000 }));
    expect(await swept()).toContain(founded.tenantId);
    await suspendTenant(owner, founded.tenantId, { cancelRuns: true });
    expect(await swept()).not.toContain(founded.tenantId);
  });
});

describe('an export', () => {
  const into = (name: string) => path.join(folder, name);
  const exported = async (name: string, target: string): Promise<ExportManifest> =>
    exportTenant({ owner, ownerUrl: plain.url }, await findTenant(database.store, name), into(target));

  test('holds every row of every table of its tenant, and none of another, and can be verified', async () => {
    const { tenantId, principalId } = await create('archive');
    const tables = await plantRows(database, { tenantId, principalId });
    await database.asOwner(manyFiles, [tenantId, 3_000]);
    const before = await stateOf(tenantId);
    for (const { name } of tables) expect(before[name], name).toBeGreaterThan(0);

    const manifest = await exported('archive', 'whole');
    expect(Object.fromEntries(manifest.files.map(({ table, rows }) => [table, rows]))).toEqual(before);
    const sums = manifest.files.map(({ sha256, file }) => `${sha256}  ${file}\n`).join('');
    expect(await readFile(into('whole/SHA256SUMS'), 'utf8')).toBe(sums);
    for (const { file, rows, bytes, sha256 } of manifest.files) {
      const text = await readFile(path.join(into('whole'), file));
      expect([text.length, createHash('sha256').update(text).digest('hex')], file).toEqual([bytes, sha256]);
      const lines = text.toString('utf8').trimEnd().split('\n');
      expect(lines, file).toHaveLength(rows);
      for (const line of lines) expect(JSON.parse(line).tenant_id ?? JSON.parse(line).id, file).toBe(tenantId);
    }
    const written = JSON.parse(await readFile(into('whole/manifest.json'), 'utf8'));
    expect(written).toEqual(manifest);
    expect((await stat(into('whole/secret.jsonl'))).mode & 0o777).toBe(0o600);
    expect(await eventsOf(tenantId)).toContain('tenant.exported');
  });

  test('leaves out ciphertexts, hashes of credentials and wrapped keys, and everything else is in it', async () => {
    const { leftOut } = JSON.parse(await readFile(into('whole/manifest.json'), 'utf8')) as ExportManifest;
    expect(leftOut).toEqual({
      api_key: ['hash'],
      credential_index: ['hash'],
      idempotency_key: ['request_hash'],
      integration_key: ['ciphertext'],
      principal_password: ['hash', 'totp'],
      secret: ['ciphertext', 'digest'],
      session: ['token_hash'],
      tenant_key: ['wrapped'],
      ticket_use: ['hash'],
    });
    const shown = tableRows(readPage('docs/tenants.md'), 'table', 'columns that are not exported');
    expect(Object.fromEntries(shown.map(([table, columns]) => [codeSpans(table!)[0], codeSpans(columns!)]))).toEqual(
      leftOut,
    );
    const files = await readdir(into('whole'));
    const text = (await Promise.all(files.map((file) => readFile(path.join(into('whole'), file), 'utf8')))).join('');
    const tables = await owner.sql(database.tenants.a.tenantId, tenantTables);
    for (const { name: table, columns } of tables)
      for (const { name, type } of columns) {
        if (type !== 'text' && type !== 'bytea') continue;
        const value = `${planted}-${table}-${name}`;
        const found = text.includes(value) || text.includes(Buffer.from(value).toString('hex'));
        const expected = !(`${table}.${name}` in particular) && table !== 'tenant' && !leftOut[table]?.includes(name);
        expect([value, found]).toEqual([value, expected]);
      }
  });

  // Whoever adds a column of such a name decides whether it is exported, here and in exportTenant.ts.
  test('was asked about every column whose name sounds like a secret', async () => {
    const tables = await owner.sql(database.tenants.a.tenantId, tenantTables);
    const sounding = tables.flatMap(({ name: table, columns }) =>
      columns
        .filter(({ name }) => /hash|secret|cipher|passw|token|wrapped|digest|totp|private|nonce|_key$|^key$/.test(name))
        .map(({ name }) => `${table}.${name}`),
    );
    const { leftOut } = JSON.parse(await readFile(into('whole/manifest.json'), 'utf8')) as ExportManifest;
    const secret = Object.entries(leftOut).flatMap(([table, columns]) => columns.map((column) => `${table}.${column}`));
    expect(sounding.filter((column) => !secret.includes(column)).sort()).toEqual([
      'audit_event.dedupe_key',
      'connector_endpoint.content_hash',
      'connector_endpoint.secret_refs',
      'delivery.delivery_key',
      'delivery.sink_token',
      'delivery_claim.delivery_key',
      'idempotency_key.key',
      'pipeline.live_version_hash',
      'pipeline_version.hash',
      'principal_password.totp_last_step',
      'principal_password.totp_since',
      'run.concurrency_key',
      'run.inputs_digest',
      'step_write.step_key',
      'transfer.step_key',
      'webhook.content_hash',
      'webhook.secret_ref',
    ]);
  });

  test('refuses a folder that holds something, and one that it may not make, in words', async () => {
    await create('homeless');
    await expect(exported('homeless', 'whole')).rejects.toMatchObject({
      kind: 'conflict',
      message: expect.stringMatching(/holds .+ already; name a folder that is empty or new$/),
    });
    await writeFile(into('a-file'), '');
    await expect(exported('homeless', 'a-file/below')).rejects.toMatchObject({ kind: 'invalid' });
  });
});

test('every table that names a tenant is known to export and removal', async () => {
  const named = await database.asOwner<{ name: string }>(
    `select table_name as name from information_schema.columns join information_schema.tables using (table_schema, table_name)
      where table_schema = 'public' and table_type = 'BASE TABLE' and column_name = 'tenant_id' order by 1`,
  );
  const known = (await owner.sql(database.tenants.a.tenantId, tenantTables)).map(({ name }) => name);
  expect(known.toSorted()).toEqual([...named.map(({ name }) => name), 'tenant'].toSorted());
  expect(known.slice(-2)).toEqual(['credential_index', 'tenant']);
});

describe('a removed tenant', () => {
  /** What a deletion does to the database. */
  const remove = async (tenantId: string) => {
    const rows = await removeRows(owner, tenantId);
    return { rows, last: await removeTenant(owner, tenantId) };
  };

  test('leaves no row in any table, however many it had, and all rows of the others', async () => {
    const founded = await create('gone', ['gone.example']);
    const tables = await plantRows(database, founded);
    await plantRows(database, database.tenants.a);
    await database.asOwner(manyFiles, [founded.tenantId, 10_500]);
    const before = await stateOf(founded.tenantId);
    const others = await everybodyElse(founded.tenantId);
    for (const { name } of tables) expect(before[name], name).toBeGreaterThan(0);

    const { rows, last } = await remove(founded.tenantId);
    expect(add(rows, last!)).toEqual(before);
    expect(Object.values(await stateOf(founded.tenantId)).filter((count) => count !== 0)).toEqual([]);
    expect(await everybodyElse(founded.tenantId)).toEqual(others);
    for (const site of ['gone', 'gone.example']) expect(await findSite(database.store, site), site).toBeUndefined();
    await expect(findTenant(database.store, 'gone')).rejects.toMatchObject({ kind: 'not-found' });
    // Its name is free again.
    expect((await create('gone', ['gone.example'])).tenantId).not.toBe(founded.tenantId);
  });

  test('is forgotten by tables that were added later too, in the order of what they refer to', async () => {
    const { tenantId, principalId } = await create('later');
    await owner.sql(tenantId, async (sql) => {
      await sql.query('create table added_aaa (tenant_id uuid, id uuid, primary key (tenant_id, id))');
      await sql.query(
        'create table added_zzz (tenant_id uuid, of_principal uuid, of_other uuid, foreign key (tenant_id, of_principal) references principal, foreign key (tenant_id, of_other) references added_aaa)',
      );
      await sql.query('insert into added_aaa values ($1::uuid, $2::uuid)', [tenantId, principalId]);
      await sql.query('insert into added_zzz values ($1::uuid, $2::uuid, $2::uuid)', [tenantId, principalId]);
    });
    try {
      const { rows, last } = await remove(tenantId);
      expect(rows).toMatchObject({ added_aaa: 1, added_zzz: 1, principal: 1 });
      expect(last).toMatchObject({ tenant: 1 });
      expect(await database.asOwner('select from added_zzz')).toHaveLength(0);
    } finally {
      await owner.sql(tenantId, (sql) => sql.query('drop table added_zzz, added_aaa'));
    }
  });

  test('is refused when tables refer to each other in a circle, before a row is gone', async () => {
    const { tenantId } = await create('circular');
    const before = await stateOf(tenantId);
    await database.asOwner('create table ring_a (tenant_id uuid, id uuid unique)');
    await database.asOwner('create table ring_b (tenant_id uuid, id uuid unique references ring_a (id))');
    await database.asOwner('alter table ring_a add foreign key (id) references ring_b (id)');
    try {
      await expect(remove(tenantId)).rejects.toMatchObject({ kind: 'unsupported', message: /ring_a, ring_b/ });
    } finally {
      await database.asOwner('drop table ring_a, ring_b cascade');
    }
    expect(await stateOf(tenantId)).toEqual(before);
  });

  test('is still found when somebody has written meanwhile, and gone after the next round', async () => {
    const { tenantId } = await create('noisy');
    await removeRows(owner, tenantId);
    const write =
      'insert into file_set_item (tenant_id, set_id, ordinal, run_id, endpoint, path, size) values ($1::uuid, $2::uuid, 1, $2::uuid, $3::text, $3::text, 1)';
    await database.store.sql(tenantId, (sql) => sql.query(write, [tenantId, randomUUID(), 'x']));
    expect(await removeTenant(owner, tenantId)).toBeUndefined();
    expect((await findTenant(database.store, 'noisy')).id).toBe(tenantId);
    expect((await remove(tenantId)).last).toEqual({ credential_index: 1, tenant: 1 });
  });

  test('gets no events any more', async () => {
    const { tenantId } = await create('late');
    await remove(tenantId);
    const event = { type: 'endpoint.swept', actor: { principalId: null }, data: {} };
    await database.store.sql(tenantId, (sql) => recordEvents(sql, tenantId, [event]));
    expect(await eventsOf(tenantId)).toEqual([]);
  });

  async function everybodyElse(tenantId: string): Promise<Record<string, unknown>> {
    const digests: Record<string, unknown> = {};
    for (const { name, tenantColumn } of await owner.sql(tenantId, tenantTables))
      digests[name] = await database.asOwner(
        `select count(*), md5(string_agg(t::text, '' order by t::text)) from ${name} t where ${tenantColumn} <> $1`,
        [tenantId],
      );
    return digests;
  }
});

const manyFiles = `insert into file_set_item (tenant_id, set_id, ordinal, run_id, endpoint, path, size)
  select $1::uuid, uuidv7(), n, uuidv7(), 'x', 'file ' || n, n from generate_series(1, $2::int) n`;

async function beginRun({ tenantId, principalId }: { tenantId: string; principalId: string }): Promise<void> {
  const id = randomUUID();
  await database.asOwner(
    `insert into session (tenant_id, principal_id, application_id, kind, expires_at, token_hash)
     values ($1, $2, 10, 'concurrent', '2099-01-01', $3)`,
    [tenantId, principalId, createHash('sha256').update(id).digest()],
  );
  await database.asOwner(
    `insert into run (tenant_id, id, pipeline_name, status, trigger, workflow_id, created_by)
     values ($1, $2, 'endless', 'running', 'manual', $4, $3)`,
    [tenantId, id, principalId, `${tenantId}/endless/${id}`],
  );
}

function add(one: Record<string, number>, other: Record<string, number>): Record<string, number> {
  const names = new Set([...Object.keys(one), ...Object.keys(other)]);
  return Object.fromEntries([...names].map((name) => [name, (one[name] ?? 0) + (other[name] ?? 0)]));
}

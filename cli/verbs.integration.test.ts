import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type CommandOptions, type Ended, type StartedCommand, startWaybill, waybill } from '../test/commandLine.ts';
import { type Partner, startPartner } from './demo/partner.ts';
import { removePostgres } from './embedded/postgres.ts';

let folder: string;
let state: string;
let dev: StartedCommand;
let partner: Partner;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'waybill-verbs-'));
  state = join(folder, 'state');
  for (const name of ['partner/out', 'landing', 'etc']) mkdirSync(join(folder, name), { recursive: true });
  writeFileSync(join(folder, 'partner/out/ORD 1.csv'), 'id;amount\n1;10\n');
  writeFileSync(join(folder, 'partner/out/ORD 2.csv'), '');
  partner = await startPartner({ folder: join(folder, 'partner') });
  writeFileSync(join(folder, 'etc/acme_key'), partner.privateKey, { mode: 0o600 });
  dev = startWaybill(['dev', '--state', state, '--port', '0', '--temporal-port', '0', '--ui-port', '0', '--json']);
  await dev.firstLine;
}, 180_000);

afterAll(async () => {
  dev.child.kill('SIGTERM');
  await dev.ended;
  await partner.stop();
  await removePostgres(state);
  rmSync(folder, { recursive: true, force: true });
}, 60_000);

// biome-ignore lint/suspicious/noExplicitAny: each answer has a shape of its own, and the test is what says which
type Answer = any;

/** In the folder of the files, with --state and --json. */
async function json(words: string[], options: CommandOptions = {}): Promise<Ended & { answer: Answer }> {
  const ended = await waybill([...words, '--state', state, '--json'], { cwd: join(folder, 'etc'), ...options });
  return { ...ended, answer: ended.stdout === '' ? undefined : JSON.parse(ended.stdout) };
}

const write = (name: string, text: string): void => writeFileSync(join(folder, 'etc', name), text);

describe('the verbs, in the order of a first day', { timeout: 120_000 }, () => {
  test('endpoints add refuses to trust a host key that nobody confirmed, and writes the file with one that was', async () => {
    const words = [
      'endpoints',
      'add',
      `sftp://${partner.username}@127.0.0.1:${partner.port}${partner.root}`,
      '--name',
      'acme-sftp',
    ];
    const options = { cwd: join(folder, 'etc') };
    const unconfirmed = await waybill(words, options);
    expect(unconfirmed.code).toBe(2);
    expect(unconfirmed.stderr).toContain(partner.hostKeyFingerprint);
    const other = await waybill([...words, '--accept', `SHA256:${'A'.repeat(43)}`], options);
    expect(other.code).toBe(1);
    expect(existsSync(join(folder, 'etc/acme-sftp.yaml'))).toBe(false);

    const accepted = await waybill(
      [...words, '--key', './acme_key', '--accept', partner.hostKeyFingerprint, '--json'],
      options,
    );
    expect(JSON.parse(accepted.stdout)).toEqual({
      name: 'acme-sftp',
      file: 'acme-sftp.yaml',
      hostKeys: [partner.hostKeyFingerprint],
    });
    expect((await waybill([...words, '--accept', partner.hostKeyFingerprint], options)).stderr).toContain(
      'exists already',
    );
  });

  test('apply publishes all or nothing, says what changed, and ignores YAML that is not ours', async () => {
    write(
      'landing.yaml',
      `endpoint: landing-zone\napiVersion: waybill/v1\nconnector: local\nconfig: { root: "${join(folder, 'landing')}" }\n`,
    );
    write('orders.yaml', pipeline('partner:/out/*.csv'));
    write('compose.yaml', 'services: {}\n');
    write('orders.test.yaml', 'pipeline: ./orders.yaml\ncases: []\n');
    const first = await json(['apply', '.']);
    expect(first.code, first.stderr).toBe(0);
    expect(first.answer).toEqual({
      changes: expect.arrayContaining([
        { kind: 'endpoint', name: 'acme-sftp', change: 'created', version: '1' },
        { kind: 'endpoint', name: 'landing-zone', change: 'created', version: '1' },
        { kind: 'pipeline', name: 'orders-in', change: 'created', version: expect.stringMatching(/^[0-9a-f]{12}$/) },
      ]),
    });
    expect(first.stderr).toContain('ignored compose.yaml');
    expect(first.stderr).toContain('ignored orders.test.yaml');

    const second = await json(['apply', '.']);
    expect(second.answer.changes.map(({ change }: { change: string }) => change)).toEqual([
      'unchanged',
      'unchanged',
      'unchanged',
    ]);
  });

  test('apply of a file with a mistake publishes nothing and is 2', async () => {
    write('bad.yaml', 'pipeline: bad-one\napiVersion: waybill/v1\nsteps: [{ use: transfer.copy@9 }]\n');
    const { code, answer } = await json(['apply', '.']);
    expect([code, answer.ok]).toEqual([2, false]);
    expect(answer.diagnostics.length).toBeGreaterThan(0);
    rmSync(join(folder, 'etc/bad.yaml'));
  });

  test('endpoints list, check and remove', async () => {
    const check = await json(['endpoints', 'check', 'acme-sftp']);
    expect(check.code, check.stdout).toBe(0);
    expect(check.answer).toMatchObject({ endpoint: 'acme-sftp', check: { ok: true } });
    const { answer } = await json(['endpoints', 'list']);
    expect(answer.items.map(({ name }: { name: string }) => name).sort()).toEqual(['acme-sftp', 'landing-zone']);
    const used = await json(['endpoints', 'remove', 'acme-sftp']);
    expect(used.code).toBe(1);
    expect(used.answer.error.kind).toBe('conflict');
    expect((await json(['endpoints', 'check', 'absent'])).code).toBe(1);
  });

  test('run --wait gives the run and its counts; a second run delivers nothing twice; the lists show it', async () => {
    const first = await json(['run', 'orders-in', '--wait', '--input', 'label=x=y']);
    expect(first.code, first.stdout + first.stderr).toBe(0);
    expect(first.answer).toEqual({
      run: {
        id: expect.stringMatching(/^run_/),
        pipeline: 'orders-in',
        version: expect.stringMatching(/^[0-9a-f]{12}$/),
        status: 'succeeded',
        startedAt: expect.any(String),
        endedAt: expect.any(String),
        outputs: { files: 2, label: 'x=y' },
        error: null,
        paused: null,
        waitingFor: null,
        workflowId: expect.stringContaining('/orders-in/'),
        temporalUrl: expect.stringMatching(/^http:/),
      },
      transfers: { files: 2, bytes: 15, skipped: 0, failed: 0 },
    });
    expect(readFileSync(join(folder, 'landing/orders/ORD 1.csv'), 'utf8')).toBe('id;amount\n1;10\n');
    const second = await json(['run', 'orders-in', '--wait']);
    expect(second.answer.transfers).toEqual({ files: 0, bytes: 0, skipped: 2, failed: 0 });

    const run = first.answer.run.id;
    expect((await json(['watch', run])).answer).toEqual(first.answer);
    const runs = await json(['runs', '--pipeline', 'orders-in', '--status', 'succeeded', '--first', '1']);
    expect(runs.answer).toEqual({
      items: [expect.objectContaining({ id: second.answer.run.id })],
      next: expect.any(String),
    });
    const older = await json(['runs', '--pipeline', 'orders-in', '--after', runs.answer.next]);
    expect(older.answer.items.map(({ id }: { id: string }) => id)).toEqual([run]);
    expect((await json(['transfers', '--run', run])).answer.items).toEqual([
      expect.objectContaining({ step: 'copy', status: 'succeeded' }),
    ]);
    const deliveries = await waybill(['deliveries', '--run', run, '--state', 'settled', '--state', state, '--json']);
    expect(JSON.parse(deliveries.stdout).items).toHaveLength(2);
    const items: { sha256: string | null }[] = (await json(['find', '/out/*1.csv', '--since', '1h'])).answer.items;
    const found = items.find(({ sha256 }) => sha256 !== null)!;
    expect(found).toMatchObject({ source: { endpoint: 'acme-sftp', path: '/out/ORD 1.csv' } });
    expect((await json(['find', '**', '--sha256', found.sha256!.toUpperCase()])).answer.items.length).toBeGreaterThan(
      0,
    );
  });

  test('the same idempotency key starts one run', async () => {
    const ids = await Promise.all(
      [1, 2].map(async () => (await json(['run', 'orders-in', '--idempotency-key', 'once'])).answer.run.id),
    );
    expect(ids[0]).toBe(ids[1]);
  });

  test('a run that fails is 1 with its error; cancel of what has ended is 1; retry starts anew', async () => {
    write('orders.yaml', pipeline('partner:/out/absent.csv'));
    await json(['apply', 'orders.yaml']);
    const { code, answer } = await json(['run', 'orders-in', '--wait']);
    expect(code).toBe(1);
    expect(answer.run).toMatchObject({ status: 'failed', error: { kind: 'not-found', step: 'copy' } });
    const cancelled = await json(['cancel', answer.run.id]);
    expect(cancelled.code).toBe(1);
    const retried = await json(['retry', answer.run.id, '--wait']);
    expect(retried.code).toBe(1);
    expect(retried.answer.run.id).not.toBe(answer.run.id);
  });

  test('bad inputs are 2, an unknown pipeline or run is 1', async () => {
    expect((await json(['run', 'orders-in', '--input', 'colour=red'])).code).toBe(2);
    expect((await json(['run', 'absent-one'])).code).toBe(1);
    expect((await json(['watch', `run_${'0'.repeat(32)}`])).code).toBe(1);
  });

  test('a run is held, shown with who holds it, found by its workflow, resumed and cancelled', async () => {
    write('slow.yaml', 'pipeline: slow-one\napiVersion: waybill/v1\nsteps: [ { wait: 10m } ]\n');
    await json(['apply', 'slow.yaml']);
    const { answer } = await json(['run', 'slow-one']);
    const { id, workflowId } = answer.run;
    const paused = await json(['pause', id, '--reason', 'ACME restarts']);
    expect([paused.code, paused.answer.run.paused]).toEqual([
      0,
      { at: expect.any(String), by: 'owner', reason: 'ACME restarts' },
    ]);
    expect((await json(['runs', 'show', workflowId])).answer.run.id).toBe(id);
    const { stdout } = await waybill(['runs', 'show', id, '--state', state]);
    expect(stdout).toContain(`paused by owner since ${paused.answer.run.paused.at}: ACME restarts`);
    const list = await waybill(['runs', '--pipeline', 'slow-one', '--state', state]);
    expect(list.stdout).toContain('(paused)');
    expect((await json(['resume', id])).answer.run.paused).toBeNull();
    expect((await json(['cancel', id])).code).toBe(0);
    expect(await json(['watch', id])).toMatchObject({ code: 1, answer: { run: { status: 'cancelled' } } });
    expect((await json(['pause', id])).answer.error.message).toContain('cancelled');
  });

  test('a run that tolerates what failed is partial: 5', async () => {
    write(
      'partial.yaml',
      `pipeline: in-part
apiVersion: waybill/v1
endpoints: { landing: landing-zone }
steps:
  - id: each
    forEach: '["absent-1", "absent-2"]'
    as: name
    tolerate: 100%
    steps: [ { use: files.move@1, with: { from: "landing:/\${{ name }}", to: "/moved/" } } ]
`,
    );
    const applied = await json(['apply', 'partial.yaml']);
    expect(applied.code, applied.stderr).toBe(0);
    expect(await json(['run', 'in-part', '--wait'])).toMatchObject({ code: 5, answer: { run: { status: 'partial' } } });
  });

  test('a run of a named version; one that is refused is recorded, named, and its code says why', async () => {
    const version = (await json(['runs', '--pipeline', 'orders-in', '--first', '1'])).answer.items[0].version;
    const ran = await json(['run', 'orders-in', '--version', version]);
    expect(ran.answer.run.version).toBe(version);
    const refused = await json(['run', 'orders-in', '--version', '0123abcd']);
    expect(refused).toMatchObject({ code: 1, answer: { error: { kind: 'not-found' }, run: { status: 'refused' } } });
    expect(refused.stderr).toContain(`${refused.answer.run.id} is recorded as refused`);
    expect((await json(['watch', refused.answer.run.id])).answer.run).toMatchObject({
      status: 'refused',
      error: { kind: 'not-found' },
    });
    expect((await json(['run', 'orders-in', '--version', 'latest'])).code).toBe(2);
  });

  test('accounts that runs act as are made, granted, listed; without a grant nothing acts as them: 4', async () => {
    expect((await json(['service-accounts', 'create', 'svc-orders'])).answer.account).toMatchObject({ grants: [] });
    const text = pipeline('partner:/out/*.csv').replace('landing:/orders/', 'landing:/acted/');
    write('as.yaml', text.replace('orders-in', 'orders-as\nsession: { as: svc-orders }'));
    const refused = await json(['apply', 'as.yaml']);
    expect([refused.code, refused.answer.error.message]).toEqual([4, expect.stringContaining('--use acme-sftp')]);
    for (const endpoint of ['acme-sftp', 'landing-zone'])
      expect((await json(['service-accounts', 'grant', 'svc-orders', '--use', endpoint])).code).toBe(0);
    expect((await json(['apply', 'as.yaml'])).code).toBe(0);
    expect(await json(['run', 'orders-as', '--wait'])).toMatchObject({ code: 0, answer: { run: { error: null } } });
    await json(['service-accounts', 'revoke', 'svc-orders', '--use', 'acme-sftp']);
    expect((await json(['run', 'orders-as'])).code).toBe(4);
    expect((await json(['service-accounts', 'list'])).answer.items).toMatchObject([
      { name: 'svc-orders', grants: [{ action: 'use', target: 'landing-zone' }] },
    ]);
    expect((await json(['service-accounts', 'grant', 'svc-orders'])).code).toBe(2);
    const both = ['service-accounts', 'grant', 'svc-orders', '--use', 'a', '--act-as', 'b'];
    expect((await json(both)).code).toBe(2);
  });

  test('a key does what its scopes say: anything else is 4, and so is a revoked key', async () => {
    const created = await json(['keys', 'create', 'reader', '--scope', 'run:read']);
    expect(created.answer.secret).toMatch(/^wb_/);
    const environment = { WAYBILL_API_KEY: created.answer.secret };
    expect((await json(['runs'], { environment })).code).toBe(0);
    const refused = await json(['apply', '.', '--yes'], { environment });
    expect([refused.code, refused.answer.error.kind]).toEqual([4, 'forbidden']);
    const keys = await json(['keys', 'list']);
    expect(keys.answer.items.map(({ name }: { name: string }) => name)).toContain('reader');
    expect((await json(['keys', 'revoke', created.answer.apiKey.id])).code).toBe(0);
    expect((await json(['runs'], { environment })).code).toBe(4);
  });

  test('a key with networks works from them, says so in the list, and a network that is none is 2', async () => {
    const words = ['keys', 'create', 'nearby', '--cidr', '127.0.0.0/8', '--cidr', '2001:DB8::/32'];
    const near = await json(words);
    expect(near.answer.apiKey.allowedCidrs).toEqual(['127.0.0.0/8', '2001:db8::/32']);
    expect((await json(['runs'], { environment: { WAYBILL_API_KEY: near.answer.secret } })).code).toBe(0);
    const far = await json(['keys', 'create', 'far', '--cidr', '203.0.113.0/24']);
    expect((await json(['runs'], { environment: { WAYBILL_API_KEY: far.answer.secret } })).code).toBe(4);
    const wrong = await json(['keys', 'create', 'wrong', '--cidr', '127.0.0.1']);
    expect([wrong.code, wrong.answer.error.message]).toEqual([2, expect.stringContaining('"127.0.0.1"')]);
    const { stdout } = await waybill(['keys', 'list', '--state', state], { cwd: join(folder, 'etc') });
    expect(stdout).toMatch(/nearby +\* +127\.0\.0\.0\/8 2001:db8::\/32 /);
    expect(stdout).toMatch(/dev +\* +anywhere /);
  });

  test('secrets are set from standard input, a file or a variable, listed by name, and removed', async () => {
    expect((await json(['secrets', 'set', 'from-input'], { input: 'value\n' })).code).toBe(0);
    expect((await json(['secrets', 'set', 'from-file', '--file', './acme_key'])).code).toBe(0);
    expect((await json(['secrets', 'set', 'from-dash', '--file', '-'], { input: 'value\n' })).code).toBe(0);
    expect((await json(['secrets', 'set', 'from-variable', '--env', 'V'], { environment: { V: 'value' } })).code).toBe(
      0,
    );
    expect((await json(['secrets', 'set', 'from-nothing'], { input: '' })).code).toBe(2);
    const { answer, stdout } = await json(['secrets', 'list']);
    const names = answer.items.map(({ name }: { name: string }) => name);
    expect(names).toEqual(expect.arrayContaining(['from-dash', 'from-file', 'from-input', 'from-variable']));
    expect(stdout).not.toContain('value\n');
    expect((await json(['secrets', 'rm', 'from-file'])).answer).toEqual({ removed: 'from-file' });
    expect((await json(['secrets', 'rm', 'from-file'])).code).toBe(1);
  });

  test('apply removes what is not in the files only with --prune', async () => {
    for (const name of ['landing.yaml', 'acme-sftp.yaml']) rmSync(join(folder, 'etc', name));
    write(
      'orders.yaml',
      `endpoint: spare-zone\napiVersion: waybill/v1\nconnector: local\nconfig: { root: "${join(folder, 'landing')}" }\n`,
    );
    const kept = await json(['apply', 'orders.yaml']);
    expect(kept.answer.changes).toEqual([expect.objectContaining({ name: 'spare-zone', change: 'created' })]);
    const pruned = await json(['apply', 'orders.yaml', '--prune', '--yes']);
    expect(pruned.answer.changes).toEqual(
      expect.arrayContaining([expect.objectContaining({ kind: 'pipeline', name: 'orders-in', change: 'removed' })]),
    );
  });
});

function pipeline(from: string): string {
  return `pipeline: orders-in
apiVersion: waybill/v1
inputs: { label: { type: string, default: none } }
endpoints: { partner: acme-sftp, landing: landing-zone }
steps:
  - id: copy
    use: transfer.copy@1
    with: { from: "${from}", to: "landing:/orders/" }
outputs: { files: steps.copy.files, label: inputs.label }
`;
}

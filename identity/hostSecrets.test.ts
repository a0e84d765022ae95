import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { allowedTo, createHostSecrets, noHostSecrets } from './hostSecrets.ts';

let folder: string;
beforeAll(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'waybill-lent-')));
  for (const name of ['keys/..data', 'other', 'keys/below']) mkdirSync(join(folder, name), { recursive: true });
  writeFileSync(join(folder, 'keys/acme'), 'one line\n');
  writeFileSync(join(folder, 'keys/several'), 'line 1\nline 2\n');
  writeFileSync(join(folder, 'keys/..data/mounted'), 'mounted');
  writeFileSync(join(folder, 'keys/below/deep'), 'deep');
  writeFileSync(join(folder, 'keys/huge'), Buffer.alloc(65_537, 'x'));
  writeFileSync(join(folder, 'other/host'), "the host's own");
  symlinkSync(join(folder, 'keys/..data/mounted'), join(folder, 'keys/mounted'));
  symlinkSync(join(folder, 'other/host'), join(folder, 'keys/out'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const lent = () =>
  createHostSecrets({
    files: [`acme=${folder}/keys/*`, `${folder}/other/all`],
    variables: ['acme=ACME_*', 'EVERYBODY'],
    environment: { ACME_PASSWORD: 'of acme', EVERYBODY: 'of all', OTHER: 'of nobody', ACME_EMPTY: '' },
  });
const file = (name: string) => ({ workerFile: `${folder}/${name}` });
const kindOf = async (tenant: string, reference: Parameters<ReturnType<typeof lent>['read']>[1]) =>
  lent()
    .read(tenant, reference)
    .then(
      () => 'read',
      (error) => error.kind,
    );

describe('what the operator lends', () => {
  test('is read: files as secrets are, and variables', async () => {
    expect(await lent().read('acme', file('keys/acme'))).toBe('one line');
    expect(await lent().read('acme', file('keys/several'))).toBe('line 1\nline 2\n');
    expect(await lent().read('acme', file('keys/mounted'))).toBe('mounted');
    expect(await lent().read('acme', { workerEnv: 'ACME_PASSWORD' })).toBe('of acme');
    expect(await lent().read('globex', { workerEnv: 'EVERYBODY' })).toBe('of all');
  });

  test.each([
    ['of another tenant', 'globex', 'keys/acme', 'forbidden'],
    ['of a tenant whose name begins the same', 'acm', 'keys/acme', 'forbidden'],
    ['in another folder', 'acme', 'other/host', 'forbidden'],
    ['in a folder below', 'acme', 'keys/below/deep', 'forbidden'],
    ['by a way around', 'acme', 'keys/../other/host', 'forbidden'],
    ['by a link that leads out', 'acme', 'keys/out', 'forbidden'],
    ['that is not there', 'acme', 'keys/nothing', 'not-found'],
    ['that is a folder', 'acme', 'keys/below', 'invalid'],
    ['that is no secret for its size', 'acme', 'keys/huge', 'invalid'],
  ])('does not reach a file %s', async (_, tenant, name, kind) => {
    expect(await kindOf(tenant, file(name))).toBe(kind);
  });

  test.each([
    ['acme', 'OTHER', 'forbidden'],
    ['globex', 'ACME_PASSWORD', 'forbidden'],
    ['acme', 'XACME_PASSWORD', 'forbidden'],
    ['acme', 'ACME_EMPTY', 'not-found'],
    ['acme', 'ACME_MISSING', 'not-found'],
  ])('gives %s no variable %s', async (tenant, workerEnv, kind) => {
    expect(await kindOf(tenant, { workerEnv })).toBe(kind);
  });

  test('is nothing when nothing is said', () => {
    for (const reference of [{ workerFile: '/etc/passwd' }, { workerEnv: 'PATH' }])
      expect(() => noHostSecrets.check('acme', reference)).toThrow(expect.objectContaining({ kind: 'forbidden' }));
  });

  test('is named in the refusal, with the setting that lends it', () => {
    expect(() => noHostSecrets.check('acme', { workerEnv: 'KEY' })).toThrow(/workerEnv:KEY .* WAYBILL_WORKER_ENV/);
  });
});

test('entries without a tenant are for all, the others for the one they name', () => {
  const entries = ['/all', 'acme=/acme', 'globex=/globex', '*'];
  expect(allowedTo('acme', entries)).toEqual(['/all', '/acme', '*']);
  expect(allowedTo('', entries)).toEqual(['/all', '*']);
});

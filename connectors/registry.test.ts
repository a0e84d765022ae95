import { expect, test } from 'vitest';
import { createDialler } from '../network/dialler.ts';
import type { ConnectorContext } from './contract.ts';
import { createRegistry } from './registry.ts';

const context: ConnectorContext = {
  dialler: createDialler({ loopback: false, allow: [] }),
  localRoots: [],
  log: { debug() {}, info() {}, warn() {}, error() {} },
};
const registry = createRegistry();
const sftpConfig = { host: 'sftp.example', username: 'acme', hostKeys: [`SHA256:${'A'.repeat(43)}`] };

test('what ships can be found by its kind, and each says what it is for', () => {
  expect(registry.definitions.map(({ kind }) => kind)).toEqual([
    'local',
    'sftp',
    's3',
    'http',
    'smtp',
    'slack',
    'teams',
  ]);
  expect(registry.definitions.map(({ serves }) => serves)).toEqual([
    'files',
    'files',
    'files',
    'requests',
    'messages',
    'messages',
    'messages',
  ]);
  expect(registry.find('sftp')?.summary).toMatch(/SFTP/);
  expect(registry.find('toString')).toBeUndefined();
});

test('an unknown kind is invalid and names the known ones', () => {
  expect(() => registry.open('ftp', {}, {}, context)).toThrow(
    /no connector "ftp"; known: local, sftp, s3, http, smtp, slack, teams/,
  );
});

test('a config that the schema refuses is invalid and names the field', () => {
  expect(() => registry.open('local', { root: 7 }, {}, context)).toThrow(/config\/root must be string/);
  expect(() => registry.open('local', { root: '/srv', extra: 1 }, {}, context)).toThrow(/additional properties/);
  expect(() => registry.open('sftp', { ...sftpConfig, port: 70_000 }, { password: 'x' }, context)).toThrow(
    /config\/port must be <= 65535/,
  );
  expect(() => registry.open('sftp', { ...sftpConfig, hostKeys: ['MD5:aa:bb'] }, { password: 'x' }, context)).toThrow(
    /config\/hostKeys\/0/,
  );
});

test('what a schema cannot say is checked too: no host key, no way to sign in, a secret that means nothing', () => {
  const { hostKeys: _, ...untrusting } = sftpConfig;
  expect(() => registry.open('sftp', untrusting, { password: 'x' }, context)).toThrow(/hostKeys is missing/);
  expect(() => registry.open('sftp', sftpConfig, {}, context)).toThrow(/no way to sign in/);
  expect(() => registry.open('sftp', sftpConfig, { password: 'canary', token: 'canary' }, context)).toThrow(
    /^(?!.*canary).*secret token/,
  );
});

test('a valid config opens without connecting', async () => {
  await registry.open('sftp', sftpConfig, { password: 'x' }, context).endpoint.close();
});

test('two definitions of one kind are refused', () => {
  const [local] = registry.definitions;
  expect(() => createRegistry([local!, local!])).toThrow(/same kind/);
});

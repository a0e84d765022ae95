import { expect, test } from 'vitest';
import { completeLock } from './completeLock.ts';

const lock = (packages: Record<string, unknown>): string =>
  `${JSON.stringify({ name: 'sample', lockfileVersion: 3, packages }, null, 2)}\n`;
const parent = {
  version: '1.0.0',
  dev: true,
  optionalDependencies: { '@x/cli-darwin-arm64': '1.0.0', '@x/cli-linux-x64': '1.0.0', fsevents: '2.0.0' },
};
const linux = { version: '1.0.0', integrity: 'sha512-x', cpu: ['x64'], dev: true, optional: true, os: ['linux'] };

test('a build that the registry did not carry gets an entry; those that are there keep theirs', () => {
  const { packages } = JSON.parse(
    completeLock(lock({ '': {}, 'node_modules/@x/cli': parent, 'node_modules/@x/cli-linux-x64': linux })),
  );
  expect(packages['node_modules/@x/cli-darwin-arm64']).toEqual({
    version: '1.0.0',
    cpu: ['arm64'],
    dev: true,
    optional: true,
    os: ['darwin'],
  });
  expect(packages['node_modules/@x/cli-linux-x64']).toEqual(linux);
  expect(packages['node_modules/fsevents']).toBeUndefined();
});

test('a complete file stays as it is', () => {
  const complete = completeLock(
    lock({ '': {}, 'node_modules/@x/cli': parent, 'node_modules/@x/cli-linux-x64': linux }),
  );
  expect(completeLock(complete)).toBe(complete);
});

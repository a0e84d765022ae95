import { expect } from 'vitest';
import type { Connector } from '../contract.ts';
import { type ConnectorPromise, capability, into, listAll, never, put, read, rejects, write } from './steps.ts';

/** Names are kept as they are, and lead nowhere else. */
export const namePromises: ConnectorPromise[] = [];
const promise = into(namePromises);

export const hardNames = [
  '世界 " \' @ ? + # %.csv',
  '.leading-dot',
  'trailing space ',
  ' leading space',
  'two  spaces',
  '~tilde$HOME`id`',
  '100%25.txt',
  'a;b|c&d.txt',
  '*[glob]?{x}.txt',
  'back\\slash.txt',
  '-rf',
  'ends.',
  'Ünï-nfc.txt',
  'U\u0308nfd.txt',
  '🗂️.bin',
  'x'.repeat(255),
  '世'.repeat(85),
];

promise('every name that the contract allows can be written, listed, read, renamed and removed', async (connector) => {
  for (const name of hardNames) {
    const path = `/names/${name}`;
    await put(connector, path, Buffer.from(name));
    expect(await read(connector, path), name).toEqual(Buffer.from(name));
  }
  const listed = await listAll(connector, '/names');
  expect(listed.map(({ name }) => name).sort()).toEqual([...hardNames].sort());
  expect(listed.every(({ path, name }) => path === `/names/${name}`)).toBe(true);
  for (const name of hardNames) {
    await connector.rename?.(`/names/${name}`, `/names/moved/${name}`, { replace: false }, never());
    await connector.remove(connector.rename ? `/names/moved/${name}` : `/names/${name}`, never());
  }
  expect((await listAll(connector, '/names')).filter(({ kind }) => kind === 'file')).toEqual([]);
});

promise(
  'names that differ only in case are two files',
  (connector) => expectTwoFiles(connector, '/case', ['Report.csv', 'report.csv']),
  capability('caseSensitive'),
);

promise('names that differ only in the form of their Unicode are two files', (connector) =>
  expectTwoFiles(connector, '/form', ['Caf\u00e9.csv', 'Cafe\u0301.csv']),
);

promise('a path cannot leave the root', async (connector) => {
  for (const path of ['/../escape', '/a/../../escape', '/./x', '/a\u0000b', '..']) {
    await rejects('invalid', () => connector.stat(path, never()));
    await rejects('invalid', () => connector.begin(path, write(1), never()));
    await rejects('invalid', () => connector.open(path, {}, never()));
    await rejects('invalid', () => connector.remove(path, never()));
  }
});

async function expectTwoFiles(connector: Connector, folder: string, names: readonly string[]): Promise<void> {
  for (const name of names) await put(connector, `${folder}/${name}`, Buffer.from(name));
  for (const name of names) expect((await read(connector, `${folder}/${name}`)).toString()).toBe(name);
  expect(await listAll(connector, folder)).toHaveLength(names.length);
}

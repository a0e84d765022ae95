import { randomBytes } from 'node:crypto';
import { expect } from 'vitest';
import type { Connector } from '../contract.ts';
import { hardNames } from './names.ts';
import { type ConnectorPromise, capability, digest, into, listAll, never, put, read, rejects } from './steps.ts';

/** Renaming, and copies that the server makes. */
export const copyingPromises: ConnectorPromise[] = [];
const promise = into(copyingPromises);

promise(
  'rename moves a file and makes the folder',
  async (connector) => {
    await put(connector, '/from/file.txt', Buffer.from('moved'));
    await connector.rename!('/from/file.txt', '/to/new/name.txt', { replace: false }, never());
    await rejects('not-found', () => connector.stat('/from/file.txt', never()));
    expect((await read(connector, '/to/new/name.txt')).toString()).toBe('moved');
  },
  capability('rename'),
);

promise(
  'rename onto an existing file is exists without replace, and replaces with it',
  async (connector) => {
    await put(connector, '/onto/a.txt', Buffer.from('a'));
    await put(connector, '/onto/b.txt', Buffer.from('b'));
    await rejects('exists', () => connector.rename!('/onto/a.txt', '/onto/b.txt', { replace: false }, never()));
    expect((await read(connector, '/onto/a.txt')).toString()).toBe('a');
    expect((await read(connector, '/onto/b.txt')).toString()).toBe('b');
    await connector.rename!('/onto/a.txt', '/onto/b.txt', { replace: true }, never());
    expect((await read(connector, '/onto/b.txt')).toString()).toBe('a');
    await rejects('not-found', () => connector.stat('/onto/a.txt', never()));
  },
  capability('rename'),
);

promise(
  'rename of what is gone is not-found, and onto itself changes nothing',
  async (connector) => {
    await rejects('not-found', () => connector.rename!('/gone.txt', '/gone-too.txt', { replace: false }, never()));
    await rejects('not-found', () => connector.rename!('/gone.txt', '/gone-too.txt', { replace: true }, never()));
    await put(connector, '/itself.txt', Buffer.from('x'));
    await connector.rename!('/itself.txt', '/itself.txt', { replace: false }, never());
    expect((await read(connector, '/itself.txt')).toString()).toBe('x');
  },
  capability('rename'),
);

for (const [words, bytes] of [
  ['no bytes', 0],
  ['5 MiB and a byte', 5 * 1024 * 1024 + 1],
  ['20 MiB', 20 * 1024 * 1024],
] as const)
  promise(
    `a copy of ${words} is whole, makes the folder, leaves the source and nothing else`,
    async (connector) => {
      const content = randomBytes(bytes);
      const from = `/copied/${bytes}/source.bin`;
      const to = `/copied/${bytes}/new/target.bin`;
      const modified = '2021-03-04T05:06:07.000Z';
      await put(connector, from, content, { modified });
      const entry = await connector.copy!(from, to, { replace: false }, never());
      expect(entry).toMatchObject({ path: to, name: 'target.bin', kind: 'file', size: bytes });
      if (connector.capabilities.modifiedTimeKept) expect(entry.modified).toBe(modified);
      expect(await connector.stat(to, never())).toEqual(entry);
      expect(digest(await read(connector, to))).toBe(digest(content));
      expect(digest(await read(connector, from))).toBe(digest(content));
      expect(await listAll(connector, `/copied/${bytes}/new`)).toHaveLength(1);
      await expectSwept(connector, `/copied/${bytes}/new`);
    },
    capability('serverCopy'),
  );

promise(
  'a copy onto an existing file is exists without replace, and replaces with it',
  async (connector) => {
    await put(connector, '/copied-onto/a.txt', Buffer.from('a'));
    await put(connector, '/copied-onto/b.txt', Buffer.from('b, and longer'));
    await rejects('exists', () =>
      connector.copy!('/copied-onto/a.txt', '/copied-onto/b.txt', { replace: false }, never()),
    );
    expect((await read(connector, '/copied-onto/b.txt')).toString()).toBe('b, and longer');
    await connector.copy!('/copied-onto/a.txt', '/copied-onto/b.txt', { replace: true }, never());
    expect((await read(connector, '/copied-onto/b.txt')).toString()).toBe('a');
    expect(await listAll(connector, '/copied-onto')).toHaveLength(2);
    await expectSwept(connector, '/copied-onto');
  },
  capability('serverCopy'),
);

promise(
  'a copy is of the version that was listed, and of another one conflict',
  async (connector) => {
    await put(connector, '/copied-version/a.txt', Buffer.from('one'));
    const { size, modified, etag } = await connector.stat('/copied-version/a.txt', never());
    const ifMatch = { size, modified, ...(etag === undefined ? {} : { etag }) };
    await connector.copy!('/copied-version/a.txt', '/copied-version/b.txt', { replace: false, ifMatch }, never());
    await put(connector, '/copied-version/a.txt', Buffer.from('three'), { replace: true });
    await rejects('conflict', () =>
      connector.copy!('/copied-version/a.txt', '/copied-version/c.txt', { replace: false, ifMatch }, never()),
    );
    expect((await listAll(connector, '/copied-version')).map(({ name }) => name).sort()).toEqual(['a.txt', 'b.txt']);
    await expectSwept(connector, '/copied-version');
  },
  capability('serverCopy'),
);

promise(
  'a copy of what is gone is not-found, under an aborted signal cancelled, and either leaves nothing',
  async (connector) => {
    const to = '/copied-nothing/to.txt';
    await rejects('not-found', () => connector.copy!('/copied-nothing/gone.txt', to, { replace: true }, never()));
    await put(connector, '/copied-nothing/from.txt', Buffer.from('x'));
    const aborted = AbortSignal.abort();
    await rejects('cancelled', () => connector.copy!('/copied-nothing/from.txt', to, { replace: true }, aborted));
    expect((await listAll(connector, '/copied-nothing')).map(({ name }) => name)).toEqual(['from.txt']);
    await expectSwept(connector, '/copied-nothing');
  },
  capability('serverCopy'),
);

promise(
  'every name that the contract allows can be copied from and to',
  async (connector) => {
    for (const name of hardNames) {
      await put(connector, `/copied-names/${name}`, Buffer.from(name));
      await connector.copy!(`/copied-names/${name}`, `/copied-names/new/${name}`, { replace: false }, never());
      expect((await read(connector, `/copied-names/new/${name}`)).toString()).toBe(name);
    }
    expect((await listAll(connector, '/copied-names/new')).map(({ name }) => name).sort()).toEqual(
      [...hardNames].sort(),
    );
  },
  capability('serverCopy'),
);

/** Listings do not show what is unfinished; the sweep finds it. */
async function expectSwept(connector: Connector, folder: string): Promise<void> {
  if (connector.sweep) expect(await connector.sweep(folder, -60_000, never())).toBe(0);
}

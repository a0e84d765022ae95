import { expect } from 'vitest';
import type { Connector, Entry } from '../contract.ts';
import {
  atATime,
  both,
  type ConnectorPromise,
  capability,
  into,
  listAll,
  method,
  never,
  type Opened,
  offered,
  put,
  rejects,
} from './steps.ts';

const manyEntries = 10_001;
const fewEntries = 1200;

/** What is listed is what is there. */
export const listingPromises: ConnectorPromise[] = [];
const promise = into(listingPromises);

promise(
  'an empty folder has no entries, and no page',
  async (connector) => {
    await connector.makeFolder!('/empty', never());
    for await (const page of connector.list('/empty', { recursive: true }, never())) expect(page).toEqual([]);
  },
  method('makeFolder'),
);

promise(
  `a folder of ${manyEntries.toLocaleString('en')} files is listed whole and in pages`,
  async (connector, opened) => {
    const paths = Array.from({ length: manyEntries }, (_, index) => `/many/file-${index}.txt`);
    await makeFiles(connector, opened, paths);
    let pages = 0;
    const listed: Entry[] = [];
    for await (const page of connector.list('/many', { recursive: false }, never())) {
      pages++;
      listed.push(...page);
    }
    expect(pages).toBeGreaterThan(1);
    expect(listed.map(({ path }) => path).sort()).toEqual([...paths].sort());
    expect(listed.every(({ kind, size }) => kind === 'file' && size === 1)).toBe(true);
  },
);

promise(
  'a listing goes on after any entry of it, with exactly what came after',
  async (connector, opened, random) => {
    await makeFiles(
      connector,
      opened,
      Array.from({ length: fewEntries }, (_, index) => `/after/${index % 7}-${index}.txt`),
    );
    const whole = (await listAll(connector, '/after')).map(({ path }) => path);
    expect(whole).toHaveLength(fewEntries);
    const places = [0, whole.length - 1, ...Array.from({ length: 5 }, () => random.between(0, whole.length - 1))];
    for (const place of places) {
      const rest: string[] = [];
      const options = { recursive: false, after: whole[place]! };
      for await (const page of connector.list('/after', options, never())) rest.push(...page.map(({ path }) => path));
      expect(rest).toEqual(whole.slice(place + 1));
    }
  },
  capability('listAfter'),
);

promise('files and folders that are deleted meanwhile do not end a walk', async (connector, opened) => {
  const paths = Array.from({ length: fewEntries }, (_, index) => `/meanwhile/file-${index}.txt`);
  await makeFiles(connector, opened, [...paths, '/meanwhile/deep/inner.txt']);
  const listed: string[] = [];
  let isFirst = true;
  for await (const page of connector.list('/meanwhile', { recursive: true }, never())) {
    listed.push(...page.map(({ path }) => path));
    if (!isFirst) continue;
    isFirst = false;
    const shown = new Set(listed);
    const unseen = paths.filter((path) => !shown.has(path));
    await atATime(connector.capabilities.filesInFlight, unseen.slice(0, 100), (path) =>
      connector.remove(path, never()),
    );
    await connector.remove('/meanwhile/deep/inner.txt', never());
  }
  // What was there all the time is listed, once.
  const kept = (await listAll(connector, '/meanwhile')).filter(({ kind }) => kind === 'file').map(({ path }) => path);
  expect(kept.filter((path) => !listed.includes(path))).toEqual([]);
  expect(new Set(listed).size).toBe(listed.length);
});

promise(
  'a symbolic link is listed as a link, leads to its file, and is never walked into',
  async (connector, opened) => {
    await put(connector, '/links/folder/file.txt', Buffer.from('linked'));
    await opened.makeLink!('/links/to-file', '/links/folder/file.txt');
    await opened.makeLink!('/links/folder/to-itself', '/links/folder');
    await opened.makeLink!('/links/to-nothing', '/links/nothing');
    const listed = await listAll(connector, '/links', true);
    expect(
      listed
        .filter(({ kind }) => kind === 'link')
        .map(({ path }) => path)
        .sort(),
    ).toEqual(['/links/folder/to-itself', '/links/to-file', '/links/to-nothing']);
    expect(listed.filter(({ kind }) => kind === 'file').map(({ path }) => path)).toEqual(['/links/folder/file.txt']);
    expect(await connector.stat('/links/to-file', never())).toMatchObject({ kind: 'file', size: 6 });
    await rejects('not-found', () => connector.stat('/links/to-nothing', never()));
  },
  offered('makeLink'),
);

promise(
  'removing or replacing a symbolic link leaves the file that it leads to',
  async (connector, opened) => {
    await put(connector, '/linked/file.txt', Buffer.from('kept'));
    await opened.makeLink!('/linked/removed', '/linked/file.txt');
    await opened.makeLink!('/linked/replaced', '/linked/file.txt');
    await connector.remove('/linked/removed', never());
    await put(connector, '/linked/replaced', Buffer.from('a file of its own'), { replace: true });
    const listed = await listAll(connector, '/linked');
    expect(listed.map(({ name, kind, size }) => ({ name, kind, size })).sort(byName)).toEqual([
      { name: 'file.txt', kind: 'file', size: 4 },
      { name: 'replaced', kind: 'file', size: 17 },
    ]);
  },
  both(offered('makeLink'), capability('rename')),
);

promise('recursive walks all folders, and without it only the folder itself', async (connector) => {
  for (const path of ['/tree/a.txt', '/tree/b/c.txt', '/tree/b/d/e.txt', '/tree/f/g.txt'])
    await put(connector, path, Buffer.from('x'));
  expect((await listAll(connector, '/tree')).map(({ path }) => path).sort()).toEqual([
    '/tree/a.txt',
    '/tree/b',
    '/tree/f',
  ]);
  const all = await listAll(connector, '/tree', true);
  expect(
    all
      .filter(({ kind }) => kind === 'file')
      .map(({ path }) => path)
      .sort(),
  ).toEqual(['/tree/a.txt', '/tree/b/c.txt', '/tree/b/d/e.txt', '/tree/f/g.txt']);
  expect(
    all
      .filter(({ kind }) => kind === 'folder')
      .map(({ path }) => path)
      .sort(),
  ).toEqual(['/tree/b', '/tree/b/d', '/tree/f']);
});

promise('an absent folder is not-found before the first page', async (connector) => {
  await rejects('not-found', () => listAll(connector, '/no-such-folder'));
});

promise('the root itself can be listed, and a walk can be left early', async (connector) => {
  await put(connector, '/seen.txt', Buffer.from('x'));
  for await (const page of connector.list('/', { recursive: true }, never())) {
    expect(page.length).toBeGreaterThan(0);
    break;
  }
  expect((await listAll(connector, '/')).map(({ path }) => path)).toContain('/seen.txt');
});

async function makeFiles(connector: Connector, opened: Opened, paths: readonly string[]): Promise<void> {
  if (opened.makeFiles) await opened.makeFiles(paths);
  else await atATime(connector.capabilities.filesInFlight, paths, (path) => put(connector, path, Buffer.alloc(1)));
}

function byName(one: { name: string }, other: { name: string }): number {
  return one.name < other.name ? -1 : 1;
}

import { randomBytes } from 'node:crypto';
import { expect } from 'vitest';
import {
  type ConnectorPromise,
  expectNothingAt,
  filled,
  into,
  listAll,
  method,
  never,
  pieceBytes,
  put,
  read,
  rejects,
  write,
} from './steps.ts';

/** Making folders, removing and sweeping. */
export const removingPromises: ConnectorPromise[] = [];
const promise = into(removingPromises);

promise(
  'makeFolder makes what is missing, says whether it did, and a file in the way is exists',
  async (connector) => {
    expect(await connector.makeFolder!('/made/a/b', never())).toBe(true);
    expect((await connector.stat('/made/a/b', never())).kind).toBe('folder');
    expect(await connector.makeFolder!('/made/a/b', never())).toBe(false);
    expect(await connector.makeFolder!('/made/a/b/c/', never())).toBe(true);
    await put(connector, '/made/a/file.txt', Buffer.from('x'));
    await rejects('exists', () => connector.makeFolder!('/made/a/file.txt', never()));
    await rejects('exists', () => connector.makeFolder!('/made/a/file.txt/below', never()));
    expect((await read(connector, '/made/a/file.txt')).toString()).toBe('x');
    const made = await Promise.all([1, 2, 3].map(() => connector.makeFolder!('/made/together/deep', never())));
    expect(made).toContain(true);
  },
  method('makeFolder'),
);

promise('remove removes, and again succeeds', async (connector) => {
  await put(connector, '/removed/file.txt', Buffer.from('x'));
  await connector.remove('/removed/file.txt', never());
  await rejects('not-found', () => connector.stat('/removed/file.txt', never()));
  await connector.remove('/removed/file.txt', never());
  await connector.remove('/no-such-folder/file.txt', never());
});

promise('removing a folder is invalid, and leaves it', async (connector) => {
  await put(connector, '/not-removed/file.txt', Buffer.from('x'));
  await rejects('invalid', () => connector.remove('/not-removed', never()));
  expect((await read(connector, '/not-removed/file.txt')).toString()).toBe('x');
});

promise(
  'sweep removes old unfinished writes of ours and nothing else',
  async (connector) => {
    const bytes = pieceBytes(connector, 1);
    const left = await connector.begin('/swept/file.txt', write(2 * bytes), never());
    await left.write(randomBytes(bytes), 0, never());
    await put(connector, '/swept/kept.txt', Buffer.from('x'), { modified: '2020-01-01T00:00:00.000Z' });
    expect(await connector.sweep!('/swept', 60_000, never())).toBe(0);
    if (left.temporaryPath !== null) expect((await connector.stat(left.temporaryPath, never())).size).toBe(bytes);
    expect(await connector.sweep!('/swept', -60_000, never())).toBe(1);
    await expectNothingAt(connector, left);
    expect((await listAll(connector, '/swept')).map(({ name }) => name)).toEqual(['kept.txt']);
    await left.abort();
  },
  method('sweep'),
);

promise(
  'sweep leaves what it is told to keep, however old, and takes the rest',
  async (connector) => {
    const bytes = pieceBytes(connector, 1);
    const kept = await connector.begin('/spared/kept.txt', write(2 * bytes), never());
    await kept.write(randomBytes(bytes), 0, never());
    const left = await connector.begin('/spared/left.txt', write(2 * bytes), never());
    await left.write(randomBytes(bytes), 0, never());
    // As it comes out of the ledger, which knows JSON.
    const token = JSON.parse(JSON.stringify(kept.token));
    expect(await connector.sweep!('/spared', -60_000, never(), [token])).toBe(1);
    await expectNothingAt(connector, left);
    expect(await connector.sweep!('/spared', -60_000, never())).toBe(1);
    await Promise.all([kept.abort(), left.abort()]);
  },
  method('sweep'),
);

promise(
  'sweep knows a fresh write by its age, though its modified time is that of an old source',
  async (connector) => {
    const fresh = await filled(connector, '/fresh/file.txt', Buffer.from('x'), {
      modified: '2020-01-01T00:00:00.000Z',
    });
    expect(await connector.sweep!('/fresh', 60_000, never())).toBe(0);
    await fresh.commit(never());
    expect((await read(connector, '/fresh/file.txt')).toString()).toBe('x');
  },
  method('sweep'),
);

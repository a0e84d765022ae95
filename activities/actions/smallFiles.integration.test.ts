import { chmod, mkdir, readFile as readLocal, rm, writeFile as writeLocal } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { maxTextBytes } from '../../schema/actions/files.ts';
import type { Json } from '../../schema/plan.ts';
import type { TestDatabase } from '../../test/servers/database.ts';
import { attemptOf, type Engine, type World } from '../../test/transfer/world.ts';
import { worldOfEachTest } from '../../test/transfer/worldOfEachTest.ts';
import { createBuffers } from '../transfer/buffers.ts';
import type { ActivityContext } from '../transfer/context.ts';
import type { FilesInput } from '../transfer/files.ts';
import { makeFolder } from './makeFolder.ts';
import { readFile } from './readFile.ts';
import { statFile } from './statFile.ts';
import { writeFile } from './writeFile.ts';

const log = { debug() {}, info() {}, warn() {}, error() {} };
const buffers = createBuffers({ ceilingBytes: 8 * 1024 * 1024 });
let database: TestDatabase;
let engine: Engine;
let world: World;
let runId: string;
worldOfEachTest((opened) => {
  ({ database, engine, world } = opened);
});
beforeEach(async () => {
  runId = await world.newRun();
});

function step(given: Record<string, Json>, stepKey = 'steps[0]'): FilesInput {
  return { tenantId: world.tenantId, runId, stepKey, endpoints: world.aliases, with: given };
}

const dependencies = () => ({ store: database.store, endpoints: engine.endpoints, buffers, log });
const stat = (at: Json) => statFile(dependencies(), step({ at }), attemptOf());
const read = (given: Record<string, Json>) => readFile(dependencies(), step(given), attemptOf());
const write = (given: Record<string, Json>, options: Partial<ActivityContext> & { stepKey?: string } = {}) =>
  writeFile(dependencies(), step(given, options.stepKey), attemptOf(options));
const make = (at: Json, stepKey?: string) => makeFolder(dependencies(), step({ at }, stepKey), attemptOf());
const at = (path: string) => ({ endpoint: 'partner', path });

describe('files.stat', () => {
  test('says what is there, and that nothing is there is an answer', async () => {
    await world.put({ 'out/a.csv': 'abc' });
    const modified = expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
    expect(await stat('partner:/out/a.csv')).toEqual({
      found: true,
      path: '/out/a.csv',
      name: 'a.csv',
      kind: 'file',
      size: 3,
      modified,
    });
    expect(await stat('partner:/out/')).toMatchObject({ found: true, path: '/out', kind: 'folder', size: 0 });
    expect(await stat('partner:/')).toMatchObject({ found: true, kind: 'folder' });
    const absent = { found: false, kind: null, size: 0, modified: null };
    expect(await stat('partner:/gone.csv')).toEqual({ ...absent, path: '/gone.csv', name: 'gone.csv' });
    expect(await stat('partner:/gone/too.csv')).toMatchObject(absent);
  });

  test('takes a path with the signs of a glob, and no glob', async () => {
    await world.put({ 'a[1].csv': 'a' });
    expect(await stat(at('/a[1].csv'))).toMatchObject({ found: true });
    await expect(stat({ endpoint: 'partner', glob: '/*' })).rejects.toMatchObject({ kind: 'invalid' });
  });
});

describe('files.read', () => {
  test('gives text, base64 or JSON, with size and hash', async () => {
    await world.put({ 'a.txt': 'grüß\n', 'a.json': '{"n": [1, null]}', 'a.bin': Buffer.from([0, 255]), empty: '' });
    const sha256 = expect.stringMatching(/^[0-9a-f]{64}$/);
    expect(await read({ at: at('/a.txt') })).toEqual({ text: 'grüß\n', json: null, size: 7, sha256 });
    expect(await read({ at: at('/a.bin'), encoding: 'base64' })).toMatchObject({ text: 'AP8=', size: 2 });
    expect(await read({ at: at('/a.json'), parse: 'json' })).toMatchObject({ text: '', json: { n: [1, null] } });
    expect(await read({ at: at('/empty') })).toMatchObject({
      text: '',
      sha256: 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
    });
  });

  test('takes what fits, and refuses the next byte with the path and what to do', async () => {
    await world.put({ most: 'x'.repeat(maxTextBytes), more: 'x'.repeat(maxTextBytes + 1) });
    expect((await read({ at: at('/most') })).size).toBe(maxTextBytes);
    await expect(read({ at: at('/more') })).rejects.toMatchObject({
      kind: 'invalid',
      message: '/more: has 65537 bytes, and a step reads 65536 at most; deliver it with transfer.copy instead',
    });
    await expect(read({ at: at('/most'), maxBytes: 10 })).rejects.toMatchObject({ kind: 'invalid' });
    await expect(read({ at: at('/most'), maxBytes: maxTextBytes + 1 })).rejects.toMatchObject({
      kind: 'invalid',
      message: /maxBytes/,
    });
  });

  test('says that a file is no text or no JSON without quoting it', async () => {
    await world.put({ 'a.bin': Buffer.from([0xc3, 0x28]), 'bad.json': '{"password": canary}' });
    await expect(read({ at: at('/a.bin') })).rejects.toMatchObject({
      kind: 'invalid',
      message: '/a.bin: is not UTF-8 text; read it with encoding: base64',
    });
    await expect(read({ at: at('/bad.json'), parse: 'json' })).rejects.toMatchObject({
      kind: 'invalid',
      message: expect.stringMatching(/^\/bad\.json: is not JSON(?!.*canary)/),
    });
  });

  test('of what is not there is not-found, with endpoint and path; of a folder it is invalid', async () => {
    await expect(read({ at: at('/gone.txt') })).rejects.toMatchObject({
      kind: 'not-found',
      context: { endpoint: world.aliases.partner, path: '/gone.txt' },
    });
    await mkdir(join(world.source, 'folder'));
    await expect(read({ at: at('/folder') })).rejects.toMatchObject({ kind: 'invalid', message: /is a folder/ });
  });
});

describe('files.write', () => {
  test('writes text or JSON whole, makes the folder and leaves an event', async () => {
    const json = await write({ to: at('/new/deep/a.json'), json: { b: [1, 'ü'] } });
    expect(json).toEqual({ path: '/new/deep/a.json', bytes: 33, sha256: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect(await world.read(world.source)).toEqual({ '/new/deep/a.json': '{\n  "b": [\n    1,\n    "ü"\n  ]\n}\n' });
    await write({ to: at('/empty.ready'), text: '' }, { stepKey: 'steps[1]' });
    expect(await world.read(world.source)).toMatchObject({ '/empty.ready': '' });
    expect(await world.events('file.written')).toContainEqual({
      deliveryId: null,
      data: { endpoint: world.aliases.partner, ...json },
    });
  });

  test('takes either text or json, no more than 64 KiB, and one file', async () => {
    await expect(write({ to: at('/a') })).rejects.toMatchObject({ kind: 'invalid' });
    await expect(write({ to: at('/a'), text: 'a', json: 1 })).rejects.toMatchObject({ kind: 'invalid' });
    await expect(write({ to: at('/a'), text: 7 })).rejects.toMatchObject({ kind: 'invalid' });
    await expect(write({ to: at('/a'), text: 'x'.repeat(maxTextBytes + 1) })).rejects.toMatchObject({
      kind: 'invalid',
      message: /65537 bytes/,
    });
    await expect(write({ to: at('/a/'), text: 'x' })).rejects.toMatchObject({ kind: 'invalid' });
    expect(await world.read(world.source)).toEqual({});
    expect(await write({ to: at('/null.json'), json: null })).toMatchObject({ bytes: 5 });
  });

  test('keeps to the conflict rule', async () => {
    await world.put({ 'a.txt': 'old', 'a.v2.txt': 'older' });
    const given = { to: at('/a.txt'), text: 'new' };
    await expect(write(given)).rejects.toMatchObject({
      kind: 'exists',
      context: { endpoint: world.aliases.partner, path: '/a.txt' },
    });
    await expect(write({ ...given, onConflict: 'skip-identical' })).rejects.toMatchObject({ kind: 'exists' });
    expect(await write({ ...given, text: 'old', onConflict: 'skip-identical' }, { stepKey: 's1' })).toMatchObject({
      path: '/a.txt',
    });
    expect(await write({ ...given, onConflict: 'version' }, { stepKey: 's2' })).toMatchObject({ path: '/a.v3.txt' });
    expect(await write({ ...given, onConflict: 'overwrite' }, { stepKey: 's3' })).toMatchObject({ path: '/a.txt' });
    expect(await world.read(world.source)).toEqual({ '/a.txt': 'new', '/a.v2.txt': 'older', '/a.v3.txt': 'new' });
  });

  test.each(['fail', 'version', 'overwrite', 'skip-identical'])(
    'called again after it was done it writes nothing more, even when somebody took the file away (%s)',
    async (onConflict) => {
      const given = { to: at('/marker'), text: 'ready', onConflict };
      const first = await write(given);
      expect(await write(given, { attempt: 2 })).toEqual(first);
      expect(await world.read(world.source)).toEqual({ '/marker': 'ready' });
      await rm(join(world.source, 'marker'));
      expect(await write(given)).toEqual(first);
      expect(await world.read(world.source)).toEqual({});
    },
  );

  test.each(['fail', 'version'])(
    'a second attempt knows the bytes of the first, whose answer was lost (%s)',
    async (onConflict) => {
      // As a process leaves it that was killed between the rename and its event.
      await writeLocal(join(world.source, 'marker'), 'ready');
      const given = { to: at('/marker'), text: 'ready', onConflict };
      expect(await write(given, { attempt: 2 })).toMatchObject({ path: '/marker' });
      expect(await world.read(world.source)).toEqual({ '/marker': 'ready' });
      const other = { ...given, text: 'other' };
      if (onConflict === 'fail')
        await expect(write(other, { attempt: 2, stepKey: 's2' })).rejects.toMatchObject({ kind: 'exists' });
      else expect(await write(other, { attempt: 2, stepKey: 's2' })).toMatchObject({ path: '/marker.v2' });
    },
  );

  test('ten attempts at once leave one whole file and nothing else', async () => {
    const given = { to: at('/marker'), text: 'x'.repeat(10_000), onConflict: 'fail' };
    const results = await Promise.allSettled(Array.from({ length: 10 }, () => write(given, { attempt: 2 })));
    expect(results.some(({ status }) => status === 'fulfilled')).toBe(true);
    expect(await world.read(world.source)).toEqual({ '/marker': given.text });
    expect(
      (await world.events('file.written')).filter(({ data }) => data.endpoint === world.aliases.partner),
    ).toHaveLength(1);
  });

  test('into a folder that may not be written leaves nothing', async () => {
    const closed = join(world.source, 'closed');
    await mkdir(closed);
    await chmod(closed, 0o555);
    // The superuser may write everywhere; what a file in the way does is the same for everybody.
    await writeLocal(join(world.source, 'file'), 'x');
    await expect(write({ to: at('/file/below.txt'), text: 'x' })).rejects.toMatchObject({ kind: 'exists' });
    expect(await readLocal(join(world.source, 'file'), 'utf8')).toBe('x');
  });
});

describe('files.makeFolder', () => {
  test('makes what is missing, and what is there already is fine', async () => {
    expect(await make('partner:/a/b/')).toEqual({ path: '/a/b', created: true });
    expect(await make('partner:/a/b', 's2')).toEqual({ path: '/a/b', created: false });
    expect(await stat('partner:/a/b')).toMatchObject({ kind: 'folder' });
    const made = (await world.events('file.folder-made')).filter(({ data }) => data.endpoint === world.aliases.partner);
    expect(made.map(({ data }) => data.path)).toEqual(['/a/b']);
  });

  test('is exists where a file is in the way', async () => {
    await world.put({ 'a/file': 'x' });
    await expect(make('partner:/a/file')).rejects.toMatchObject({
      kind: 'exists',
      context: { endpoint: world.aliases.partner },
    });
    await expect(make('partner:/a/file/b')).rejects.toMatchObject({ kind: 'exists' });
  });
});

describe('a file that vanished', () => {
  test('is not-found to a move and to a copy, with endpoint and path; to a delete it is done', async () => {
    const place = { endpoint: world.aliases.partner, path: '/gone.csv' };
    const missing = { kind: 'not-found', message: expect.stringContaining('/gone.csv'), context: place };
    const moving = engine.work.moveFile(step({ from: at('/gone.csv'), to: '/done/' }), attemptOf());
    await expect(moving).rejects.toMatchObject(missing);
    const planning = world.plan(runId, { from: at('/gone.csv'), to: 'landing:/' });
    await expect(planning).rejects.toMatchObject(missing);
    expect(await engine.work.deleteFile(step({ at: at('/gone.csv') }), attemptOf())).toEqual({ path: '/gone.csv' });
  });
});

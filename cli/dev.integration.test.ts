import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type StartedCommand, startWaybill, waybill } from '../test/commandLine.ts';
import { removePostgres } from './embedded/postgres.ts';
import { isRunning } from './embedded/processes.ts';
import type { DevFacts } from './supervisor/stateFolder.ts';

const upTimeoutMs = 60_000;
const anyPorts = ['--port', '0', '--temporal-port', '0', '--ui-port', '0'];

let folder: string;
let state: string;
let dev: StartedCommand | undefined;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'waybill-dev-'));
  state = join(folder, 'state');
});
afterEach(async () => {
  if (dev === undefined) return;
  dev.child.kill('SIGTERM');
  await dev.ended;
  dev = undefined;
});
afterAll(async () => {
  await removePostgres(state);
  rmSync(folder, { recursive: true, force: true });
});

async function startDev(...more: string[]): Promise<DevFacts> {
  dev = startWaybill(['dev', '--state', state, ...anyPorts, '--json', ...more]);
  const facts = JSON.parse(await dev.firstLine) as DevFacts;
  if (!facts.ready) throw new Error(JSON.stringify(facts));
  return facts;
}

describe('waybill dev', { timeout: 180_000 }, () => {
  test('says where everything is in one line, and its commands find it by --state', async () => {
    const facts = await startDev();
    expect(facts).toEqual({
      ready: true,
      graphql: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+\/graphql$/),
      temporal: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
      temporalUi: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/),
      databaseUrl: expect.stringMatching(/^postgresql:\/\/waybill_owner:/),
      appDatabaseUrl: expect.stringMatching(/^postgresql:\/\/waybill_app:/),
      apiKeyFile: join(state, 'api-key'),
      pids: {
        api: expect.any(Number),
        workers: [expect.any(Number)],
        temporal: expect.any(Number),
        postgres: expect.any(Number),
      },
    });
    expect(commandOf(facts.pids.api!)).toContain('waybill api');
    expect(commandOf(facts.pids.workers[0]!)).toContain('waybill worker');
    for (const file of [
      'api-key',
      'master.key',
      'dev.json',
      'codec-token',
      'temporal',
      'temporal/.config/temporalio/temporal.yaml',
    ])
      expect(statSync(join(state, file)).mode & 0o077, file).toBe(0);

    const list = await waybill(['runs', '--state', state, '--json']);
    expect([list.code, JSON.parse(list.stdout)]).toEqual([0, { items: [], next: null }]);
    const refused = await waybill(['runs'], {
      environment: { WAYBILL_URL: facts.graphql, WAYBILL_API_KEY: 'wb_dev_nonsense' },
    });
    expect(refused.code).toBe(4);

    const second = await waybill(['dev', '--state', state, ...anyPorts]);
    expect(second.code).toBe(1);
    expect(second.stderr).toContain(`pid ${dev!.child.pid}`);
    expect(second.stderr).toContain(new URL(facts.graphql).origin);

    dev!.child.kill('SIGTERM');
    const { stderr } = await dev!.ended;
    dev = undefined;
    const [, password] = /^administrator: owner, one-time password: (\S{20}) /m.exec(stderr) ?? [];
    expect(password, stderr).toBeDefined();
    // Nothing of the state holds it: no log, no table, no file.
    expect(spawnSync('grep', ['-rlaF', '--', password!, state]).status).toBe(1);
  });

  test('keeps its state, key and database over a restart, and leaves no process when stopped', async () => {
    const first = await startDev();
    const key = readFileSync(first.apiKeyFile, 'utf8');
    await waybill(['secrets', 'set', 'partner-password', '--state', state], { input: 'hunter2\n' });
    dev!.child.kill('SIGTERM');
    const { code, stderr } = await dev!.ended;
    expect(code).toBe(0);
    // Given out at the first start, in the test before this one, and never again.
    expect(stderr).not.toContain('one-time password');
    for (const pid of pidsOf(first)) expect(isRunning(pid)).toBe(false);

    const second = await startDev();
    expect(readFileSync(second.apiKeyFile, 'utf8')).toBe(key);
    const { stdout } = await waybill(['secrets', 'list', '--state', state, '--json']);
    expect(JSON.parse(stdout).items).toEqual([expect.objectContaining({ name: 'partner-password' })]);
  });

  test("lets Temporal's UI decode payloads by a token that no argument of a process shows, and not with --encrypted-ui", async () => {
    const open = await startDev();
    const token = readFileSync(join(state, 'codec-token'), 'utf8').trim();
    expect(token).toMatch(/^[\w-]{43}$/);
    const endpoint = `${new URL(open.graphql).origin}/codec/${token}`;
    expect(await codecEndpointOf(open)).toBe(endpoint);
    expect((await decode(`${endpoint}/decode`)).status).toBe(200);
    expect(execFileSync('ps', ['-A', '-ww', '-o', 'command='], { encoding: 'utf8' }).includes(token)).toBe(false);
    dev!.child.kill('SIGTERM');
    await dev!.ended;

    const shut = await startDev('--encrypted-ui');
    expect(await codecEndpointOf(shut)).toBe('');
    expect((await decode(`${new URL(shut.graphql).origin}/codec/${token}/decode`)).status).toBe(404);
  });

  test.each(['api', 'worker', 'temporal', 'postgres'] as const)(
    'starts %s again when it was killed, at the same address',
    async (name) => {
      const before = await startDev();
      const killed = pidOf(before, name);
      process.kill(killed, 'SIGKILL');
      const after = await eventually(() => {
        const facts = JSON.parse(readFileSync(join(state, 'dev.json'), 'utf8')) as DevFacts;
        const pid = pidOf(facts, name);
        return pid !== null && pid !== killed && isRunning(pid) ? facts : undefined;
      });
      expect({ ...after, pids: null }).toEqual({ ...before, pids: null });
      await eventually(async () => ((await waybill(['runs', '--state', state])).code === 0 ? true : undefined));
    },
  );

  test('leaves no process when it was killed itself, and the next one takes the state over', async () => {
    const facts = await startDev();
    process.kill(dev!.child.pid!, 'SIGKILL');
    await dev!.ended;
    await eventually(() => (pidsOf(facts).some(isRunning) ? undefined : true));
    const again = await startDev();
    expect(again.apiKeyFile).toBe(facts.apiKeyFile);
  });

  test('Ctrl-C while it starts leaves nothing', async () => {
    const other = join(folder, 'interrupted');
    const command = startWaybill(['dev', '--state', other, ...anyPorts, '--json']);
    await eventually(() => (readOptional(join(other, 'postgres.json')) === undefined ? undefined : true));
    command.child.kill('SIGINT');
    const { code, stdout } = await command.ended;
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ ok: false, error: { kind: 'cancelled' } });
    expect(processesOf(other)).toEqual([]);
    await removePostgres(other);
  });

  test('a taken port is named with its option, and nothing stays behind', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const other = join(folder, 'taken');
    for (const option of ['--port', '--temporal-port', '--ui-port']) {
      const { code, stderr } = await waybill(['dev', '--state', other, ...anyPorts, option, String(port)]);
      expect([option, code]).toEqual([option, 1]);
      expect(stderr).toContain(`port ${port} on 127.0.0.1 (${option}) is taken`);
    }
    expect(processesOf(other)).toEqual([]);
    server.close();
  });

  test('a master key that is none is a mistake of the file', async () => {
    const other = join(folder, 'bad-key');
    mkdirSync(other);
    writeFileSync(join(other, 'master.key'), 'c2hvcnQ=\n');
    const { code, stderr } = await waybill(['dev', '--state', other, ...anyPorts]);
    expect(code).toBe(2);
    expect(stderr).toContain('master.key does not hold 32 bytes');
    expect(existsSync(join(other, 'postgres.json'))).toBe(false);
  });
});

/** What the UI tells its pages. */
async function codecEndpointOf({ temporalUi }: DevFacts): Promise<string> {
  const settings = await fetch(new URL('/api/v1/settings', temporalUi!));
  return ((await settings.json()) as { Codec: { Endpoint: string } }).Codec.Endpoint;
}

function decode(url: string): Promise<Response> {
  return fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"payloads":[]}' });
}

function pidOf(facts: DevFacts, name: 'api' | 'worker' | 'temporal' | 'postgres'): number {
  return (name === 'worker' ? facts.pids.workers[0] : facts.pids[name]) as number;
}

function pidsOf({ pids }: DevFacts): number[] {
  return [pids.api, pids.temporal, pids.postgres, ...pids.workers].filter((pid) => pid !== null);
}

function commandOf(pid: number): string {
  return execFileSync('ps', ['-o', 'command=', '-p', String(pid)], { encoding: 'utf8' });
}

/** Lines of `ps` that name that folder. */
function processesOf(path: string): string[] {
  const lines = execFileSync('ps', ['-A', '-o', 'pid=,command='], { encoding: 'utf8' }).split('\n');
  return lines.filter((line) => line.includes(path) && !line.includes('ps -A'));
}

async function eventually<Result>(look: () => Result | undefined | Promise<Result | undefined>): Promise<Result> {
  const deadline = Date.now() + upTimeoutMs;
  while (Date.now() < deadline) {
    const result = await look();
    if (result !== undefined) return result;
    await delay(100);
  }
  throw new Error('it did not happen in time');
}

function readOptional(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

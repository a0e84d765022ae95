import { execFile, execFileSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readPage } from '../test/documents.ts';
import { password, type SignIns, startSignIns } from '../test/servers/signIns.ts';

const run = promisify(execFile);
let signIns: SignIns;
let folder: string;
beforeAll(async () => {
  signIns = await startSignIns();
  folder = await mkdtemp(path.join(tmpdir(), 'waybill-examples-'));
});
afterAll(async () => {
  await signIns?.api.close();
  await rm(folder, { recursive: true, force: true });
});

/** What an example of docs/identity.md prints, run as a reader would. */
async function output(language: string, command: string, file: string): Promise<string> {
  const block = readPage('docs/identity.md').blocks.find((candidate) => candidate.language === language);
  const at = path.join(folder, file);
  await writeFile(at, block!.text);
  const environment = { PATH: process.env.PATH, SERVER: new URL(signIns.api.url).origin };
  const { stdout } = await run(command, [at], { env: { ...environment, USER_NAME: 'anna', PASSWORD: password } });
  return stdout;
}

function isThere(command: string, options: readonly string[] = ['--version']): boolean {
  try {
    execFileSync(command, options, { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

describe('the examples of docs/identity.md sign in, ask and sign out', () => {
  test.skipIf(!isThere('curl') || !isThere('bash'))('curl (skipped where there is no curl)', async () => {
    const printed = await output('bash', 'bash', 'example.sh');
    expect(printed).toContain('"principal":"anna"');
    expect(printed).toContain('"closed":true');
  });

  test('TypeScript', async () => {
    expect(await output('ts', process.execPath, 'example.mts')).toBe('anna of tenant-a\n');
  });

  test.skipIf(!isThere('python3'))('Python (skipped where there is no Python)', async () => {
    expect(await output('py', 'python3', 'example.py')).toBe('anna\n');
  });
});

/** What the developer's guide has its readers write: one request, and what each status means. */
const client = `
import os, requests

def who(credential):
    try:
        response = requests.get(
            os.environ["SERVER"] + "/auth/validate",
            headers={"Authorization": f"Bearer {credential}"},
            timeout=10,
        )
        if response.status_code == 401:
            return "invalid"
        if response.status_code == 403:
            return "insufficient"
        response.raise_for_status()
        return response.json()["principal"]
    except requests.exceptions.Timeout:
        return "timeout"
    except requests.exceptions.RequestException as error:
        return f"failed: {error}"

print(" ".join(who(credential) for credential in os.environ["CREDENTIALS"].split(",")))
`;

test.skipIf(!isThere('python3', ['-c', 'import requests']))(
  'GET /auth/validate answers a client of the developer’s guide: the key or session, 401 and 403 (skipped where Python has no requests)',
  async () => {
    const { api } = signIns;
    const oneTime =
      'mutation { setPassword(input: { userName: "ben", password: "good for one sign-in", oneTime: true }) { __typename } }';
    await api.graphql(api.keys.a, oneTime);
    const { sessionId } = await signIns.openImmutable();
    const { sessionId: ended } = await signIns.openImmutable();
    await signIns.close(ended);
    const { sessionId: opensNothing } = await signIns.open({ userName: 'ben', password: 'good for one sign-in' });
    const credentials = [api.keys.a, sessionId, 'invented', `${sessionId}x`, ended, opensNothing];
    const at = path.join(folder, 'who.py');
    await writeFile(at, client);
    const environment = { PATH: process.env.PATH, SERVER: new URL(api.url).origin };
    const { stdout } = await run('python3', [at], { env: { ...environment, CREDENTIALS: credentials.join() } });
    expect(stdout.trim()).toBe('owner anna invalid invalid invalid insufficient');
  },
);

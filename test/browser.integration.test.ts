import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { removePostgres } from '../cli/embedded/postgres.ts';
import type { DevFacts } from '../cli/supervisor/stateFolder.ts';
import { type StartedCommand, startWaybill, waybill } from './commandLine.ts';
import { startBrowser } from './servers/browser.ts';

/** Longer than any page takes on a busy machine. */
const pageTimeoutMs = 30_000;
const files = { 'ORD_1.csv': 'a;b\n1;2\n', 'ORD_2.csv': 'a;b\n', 'ORD 3 # ü.csv': '' };

let folder: string;
let state: string;
let dev: StartedCommand;
let facts: DevFacts;
let key: string;
let browser: Browser;
let runId: string;

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'waybill-browser-'));
  state = path.join(folder, 'state');
  // First what may have to be installed: nothing else is up then, should that fail.
  browser = await startBrowser();
  dev = startWaybill(['dev', '--state', state, '--port', '0', '--temporal-port', '0', '--ui-port', '0', '--json']);
  facts = JSON.parse(await dev.firstLine) as DevFacts;
  key = readFileSync(facts.apiKeyFile, 'utf8').trim();
  runId = await runPipeline();
}, 600_000);
afterAll(async () => {
  await browser?.close();
  dev?.child.kill('SIGTERM');
  await dev?.ended;
  await removePostgres(state);
  rmSync(folder, { recursive: true, force: true });
});

async function runPipeline(): Promise<string> {
  for (const name of ['partner', 'landing']) mkdirSync(path.join(folder, name));
  for (const [name, text] of Object.entries(files)) writeFileSync(path.join(folder, 'partner', name), text);
  const file = path.join(folder, 'orders.yaml');
  writeFileSync(
    file,
    `endpoint: partner-folder
apiVersion: waybill/v1
connector: local
config: { root: ${path.join(folder, 'partner')} }
---
endpoint: landing-zone
apiVersion: waybill/v1
connector: local
config: { root: ${path.join(folder, 'landing')} }
---
pipeline: orders-in
apiVersion: waybill/v1
endpoints: { from: partner-folder, to: landing-zone }
steps:
  - id: fetch
    use: transfer.copy@1
    with: { from: "from:/*.csv", to: "to:/orders/" }
`,
  );
  const published = await waybill(['apply', file, '--yes', '--state', state]);
  expect(published.code, published.stderr).toBe(0);
  const ended = await waybill(['run', 'orders-in', '--wait', '--json', '--state', state]);
  expect(ended.code, ended.stderr).toBe(0);
  return JSON.parse(ended.stdout).run.id;
}

/** A page, and what it complains of: errors of its console, its policy and its scripts. */
async function openPage(): Promise<{ page: Page; complaints: string[] }> {
  const page = await browser.newPage({ viewport: { width: 1400, height: 900 } });
  page.setDefaultTimeout(pageTimeoutMs);
  const complaints: string[] = [];
  page.on('console', (message) => {
    // The end says what is wrong; the beginning may be a font of a megabyte.
    if (message.type() === 'error') complaints.push(message.text().slice(-300));
  });
  page.on('pageerror', (error) => complaints.push(error.message));
  return { page, complaints };
}

describe('GraphiQL at the address of the API', () => {
  test('takes a key, then shows documentation and answers, and forgets the key', async () => {
    const { page, complaints } = await openPage();
    await page.goto(facts.graphql);
    const execute = page.getByRole('button', { name: /Execute query/ });
    await execute.click();
    await page.locator('.graphiql-response').getByText('An API key is needed').waitFor();

    await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
    const headers = JSON.stringify({ Authorization: `Bearer ${key}` });
    await page.evaluate((text) => navigator.clipboard.writeText(text), headers);
    await page.getByRole('region', { name: 'Headers' }).locator('.graphiql-editor:not(.hidden) .view-lines').click();
    await page.keyboard.press('ControlOrMeta+A');
    await page.keyboard.press('ControlOrMeta+V');

    await page.getByRole('button', { name: /Re-fetch GraphQL schema/ }).click();
    await page.getByRole('button', { name: 'Show Documentation Explorer' }).click();
    const documentation = page.locator('.graphiql-doc-explorer');
    await documentation.getByText('Mutation', { exact: true }).click();
    await documentation.getByText('applyConfiguration', { exact: true }).waitFor();

    await execute.click();
    const answer = page.locator('.graphiql-response');
    await answer.getByText('"succeeded"').waitFor();
    // The editor breaks long lines.
    expect((await answer.textContent())?.replace(/\s/g, '')).toContain(`"id":"${runId}"`);

    const kept = await page.evaluate(() => JSON.stringify(Object.entries({ ...localStorage, ...sessionStorage })));
    expect(kept).toContain('LatestRuns');
    expect(kept).not.toContain(key.slice(0, 20));
    // Before it had a key: a policy that is too narrow, a script that breaks, anything from elsewhere would be here.
    expect(complaints.filter((text) => !text.includes('401 (Unauthorized)'))).toEqual([]);
    await page.close();
  });
});

describe("a run's page in Temporal's UI", () => {
  test('opens by the link of the run, and is read without the source at hand', async () => {
    const response = await fetch(facts.graphql, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify({
        query: 'query($id: ID!) { run(id: $id) { temporalUrl workflowId } }',
        variables: { id: runId },
      }),
    });
    const { run } = (await response.json()).data;
    const { page } = await openPage();
    await page.goto(run.temporalUrl);
    await page.getByRole('heading', { name: run.workflowId }).waitFor();
    await page.getByRole('link', { name: 'orders-in', exact: true }).waitFor();
    for (const words of ['load the plan, open the session', 'copy from:/*.csv -> to:/orders/', 'as succeeded'])
      await page.getByText(words).first().waitFor();

    await page.getByRole('tab', { name: 'User Metadata' }).click();
    // The UI renders what comes from a workflow in frames of their own.
    const [summary, details, current] = [0, 1, 2].map((index) => page.locator('iframe').nth(index).contentFrame());
    await summary!.getByText(/^orders-in [0-9a-f]{12} \(manual\)$/).waitFor();
    await details!.getByText(`waybill runs show ${runId}`).waitFor();
    await current!.getByRole('cell', { name: 'fetch' }).waitFor();
    const cells = await current!.getByRole('cell').allTextContents();
    expect(cells.map((text) => text.trim())).toEqual(['fetch', 'done', '3 of 3', '12 B', '0']);
    await page.close();
  });
});

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Browser, FrameLocator, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { removePostgres } from '../cli/embedded/postgres.ts';
import type { DevFacts } from '../cli/supervisor/stateFolder.ts';
import { type StartedCommand, startWaybill, waybill } from './commandLine.ts';
import { startBrowser } from './servers/browser.ts';

/** What the night operator sees of a run in Temporal's UI. Each page is kept as a picture, to be looked at. */
const pictures = fileURLToPath(new URL('./artefacts/', import.meta.url));
const pageTimeoutMs = 30_000;
const testTimeoutMs = 90_000;

let folder: string;
let state: string;
let dev: StartedCommand;
let facts: DevFacts;
let key: string;
let browser: Browser;

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'waybill-pages-'));
  state = path.join(folder, 'state');
  mkdirSync(pictures, { recursive: true });
  browser = await startBrowser();
  dev = startWaybill(['dev', '--state', state, '--port', '0', '--temporal-port', '0', '--ui-port', '0', '--json']);
  facts = JSON.parse(await dev.firstLine) as DevFacts;
  key = readFileSync(facts.apiKeyFile, 'utf8').trim();
  for (const name of ['partner', 'landing']) mkdirSync(path.join(folder, name));
  for (let index = 0; index < 6; index++) writeFileSync(path.join(folder, 'partner', `ORD_${index}.csv`), `${index}`);
  const file = path.join(folder, 'pages.yaml');
  writeFileSync(file, configuration(folder));
  const published = await waybill(['apply', file, '--yes', '--state', state]);
  expect(published.code, published.stderr).toBe(0);
}, 600_000);
afterAll(async () => {
  await browser?.close();
  dev?.child.kill('SIGTERM');
  await dev?.ended;
  await removePostgres(state);
  rmSync(folder, { recursive: true, force: true });
  process.stdout.write(`pictures of Temporal's pages: ${pictures}\n`);
});

describe("a run's page in Temporal's UI", { timeout: testTimeoutMs }, () => {
  test('while loops run beside each other shows what each does, and which steps wait until when', async () => {
    const page = await openRun(await start('pages-running'));
    await page
      .getByText(/wait until \d{4}-\d\d-\d\d/)
      .first()
      .waitFor();
    for (const words of [/copy from:\/ORD_\d\.csv -> to:\/in\//, 'load the plan, open the session'])
      await page.getByText(words).first().waitFor();
    await picture(page, 'running-history');
    const details = await openDetails(page);
    for (const step of ['each', 'later', 'each.copy', 'each.hold'])
      await details.getByRole('cell', { name: step, exact: true }).waitFor();
    await details
      .getByText(/waits: until \d{4}-\d\d-\d\d \d\d:\d\d/)
      .first()
      .waitFor();
    await picture(page, 'running-details');
    await page.close();
  });

  test('while it looks again and again says what it looks for, and until when', async () => {
    const page = await openRun(await start('pages-waiting'));
    await page
      .getByText(/look again at .*webhooks > 1000/)
      .first()
      .waitFor();
    await picture(page, 'waiting-history');
    const details = await openDetails(page);
    await details
      .getByText(/steps\.ask\.webhooks > 1000, until/)
      .first()
      .waitFor();
    await picture(page, 'waiting-details');
    await page.close();
  });

  test('when it has failed says kind, endpoint, path and what to do', async () => {
    const id = await start('pages-failed');
    await expect.poll(() => statusOf(id), { timeout: pageTimeoutMs }).toBe('failed');
    const page = await openRun(id);
    await page.getByText('as failed').first().waitFor();
    const whole = page.locator('body');
    for (const words of [/not-found/, /partner-folder/, /\/nowhere\/late\.csv/, /Check the path/])
      await expect
        .poll(async () => (await whole.textContent())?.match(words) ?? null, { timeout: pageTimeoutMs })
        .not.toBeNull();
    await picture(page, 'failed-history');
    await openDetails(page);
    await picture(page, 'failed-details');
    await page.close();
  });

  test('while it is paused says so, and by whom', async () => {
    const id = await start('pages-running');
    await expect.poll(() => statusOf(id), { timeout: pageTimeoutMs }).toBe('running');
    const paused = await waybill(['pause', id, '--state', state, '--json']);
    expect(paused.code, paused.stderr + paused.stdout).toBe(0);
    const page = await openRun(id);
    await page.getByText('read whether the run is paused').first().waitFor();
    await picture(page, 'paused-history');
    const details = await openDetails(page);
    await details
      .getByText(/paused/)
      .first()
      .waitFor();
    await picture(page, 'paused-details');
    await page.close();
  });

  test('is found by search attributes, and leads back to the run of the API', async () => {
    const id = await start('pages-failed');
    const { workflowId } = await factsOf(id);
    const page = await openPage();
    const query = encodeURIComponent('WaybillPipeline = "pages-failed"');
    await page.goto(`${new URL(facts.temporalUi!).origin}/namespaces/default/workflows?query=${query}`);
    await page.getByText(workflowId).first().waitFor();
    await picture(page, 'found');
    await page.close();
    const details = await openDetails(await openRun(id), 1);
    await details.getByText(id, { exact: true }).waitFor();
  });
});

async function start(pipeline: string): Promise<string> {
  const started = await waybill(['run', pipeline, '--json', '--state', state]);
  expect(started.code, started.stderr).toBe(0);
  return JSON.parse(started.stdout).run.id;
}

async function factsOf(id: string): Promise<{ status: string; temporalUrl: string; workflowId: string }> {
  const response = await fetch(facts.graphql, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      query: 'query($id: ID!) { run(id: $id) { status temporalUrl workflowId } }',
      variables: { id },
    }),
  });
  return (await response.json()).data.run;
}

const statusOf = async (id: string) => (await factsOf(id)).status;

async function openPage(): Promise<Page> {
  const page = await browser.newPage({ viewport: { width: 1500, height: 1100 } });
  page.setDefaultTimeout(pageTimeoutMs);
  return page;
}

async function openRun(id: string): Promise<Page> {
  const page = await openPage();
  const { temporalUrl, workflowId } = await factsOf(id);
  await page.goto(temporalUrl);
  await page.getByRole('heading', { name: workflowId }).waitFor();
  return page;
}

/** The frames of the metadata: 0 the summary, 1 the details, 2 the current details. */
async function openDetails(page: Page, frame = 2): Promise<FrameLocator> {
  await page.getByRole('tab', { name: 'User Metadata' }).click();
  await page.locator('iframe').nth(frame).waitFor();
  return page.locator('iframe').nth(frame).contentFrame();
}

async function picture(page: Page, name: string): Promise<void> {
  await page.screenshot({ path: path.join(pictures, `${name}.png`), fullPage: true });
}

function configuration(root: string): string {
  const local = (name: string, place: string) =>
    `endpoint: ${name}\napiVersion: waybill/v1\nconnector: local\nconfig: { root: ${path.join(root, place)} }\n---\n`;
  return `${local('partner-folder', 'partner')}${local('landing-zone', 'landing')}pipeline: pages-running
apiVersion: waybill/v1
endpoints: { from: partner-folder, to: landing-zone }
steps:
  - { id: list, use: files.list@1, with: { from: "from:/*.csv" } }
  - parallel:
      - id: each
        forEach: steps.list.files
        as: file
        maxParallel: 2
        steps:
          - { id: copy, use: transfer.copy@1, with: { from: { endpoint: from, path: "\${{ file.path }}" }, to: "to:/in/", once: "off", onConflict: overwrite } }
          - { id: hold, wait: 10m }
      - id: later
        forEach: "[1, 2, 3]"
        as: number
        steps:
          - { use: audit.write@1, with: { event: pages.number, data: { number: "\${{ number }}" } } }
---
pipeline: pages-waiting
apiVersion: waybill/v1
steps:
  - id: ready
    wait:
      until: steps.ask.webhooks > 1000
      every: 30s
      deadline: 2h
      steps: [ { id: ask, use: webhook.send@1, with: { event: pages.asked } } ]
---
pipeline: pages-failed
apiVersion: waybill/v1
endpoints: { from: partner-folder }
steps:
  - { id: put, use: files.move@1, with: { from: "from:/nowhere/late.csv", to: /done/ } }
`;
}

import { chmod, mkdir, mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { newSigningSecret } from '../../audit/webhookSigning.ts';
import { WaybillError } from '../../schema/errors.ts';
import type { RunStatus } from '../../schema/plan.ts';
import { type ApiClient, createClient } from '../client.ts';
import { type DeliveryView, deliveriesQuery } from '../commands/transfers.ts';
import { publish, readDraft } from '../configuration/publish.ts';
import { removePostgres } from '../embedded/postgres.ts';
import type { Output } from '../output.ts';
import { readAll } from '../page.ts';
import { startRun } from '../runs/run.ts';
import { watchRun } from '../runs/watch.ts';
import { scriptPath } from '../scriptPath.ts';
import type { CommandEnvironment, Environment } from '../settings.ts';
import { superviseChild } from '../supervisor/child.ts';
import { type RunningDev, startDev } from '../supervisor/dev.ts';
import { packageRoot } from '../version.ts';
import { writeDemoConfiguration } from './configuration.ts';
import { sha256Of, writeDemoFiles } from './files.ts';
import type { Partner } from './partner.ts';
import { startReceiver } from './receiver.ts';

const webhookTimeoutMs = 30_000;
const partnerStopTimeoutMs = 10_000;
const maxDeliveries = 1_000;

export interface DemoOptions {
  output: Output;
  command: CommandEnvironment;
  environment: Environment;
  signal: AbortSignal;
}

/** What the demo came to: the JSON object of its last line. */
export interface DemoReport {
  ok: boolean;
  run: { id: string; pipeline: string; status: RunStatus };
  files: number;
  bytes: number;
  deliveries: { source: string; target: string; bytes: number; sha256: string | null; state: string }[];
  webhook: { verified: boolean };
  urls: { graphql: string; temporalUi: string | null };
  seconds: number;
}

export interface RunningDemo {
  report: DemoReport;
  dev: RunningDev;
  partner: Omit<Partner, 'stop'>;
  landingFolder: string;
  webhook: { type: string; id: string } | null;
  /** Stops everything and removes the folder. */
  stop(): Promise<void>;
}

/**
 * Moves real files from an SFTP partner to a landing folder by pipelines/acme-orders-inbound.yaml, through the same code as
 * `dev`, `apply` and `run`, in a folder of its own below the system's temporary one.
 */
export async function runDemo(options: DemoOptions): Promise<RunningDemo> {
  const startedAt = Date.now();
  const cleanups: (() => Promise<unknown>)[] = [];
  // In the order opposite to that of their start, each once, and all of them even if one fails.
  const stop = async (): Promise<void> => {
    const failures: unknown[] = [];
    for (let cleanup = cleanups.pop(); cleanup !== undefined; cleanup = cleanups.pop()) {
      await cleanup().catch((error: unknown) => failures.push(error));
    }
    if (failures.length > 0) throw failures[0];
  };
  try {
    const parts = await startParts(options, cleanups);
    const report = await moveFiles(options.output, parts, startedAt);
    return { ...parts, ...report, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

interface Parts {
  dev: RunningDev;
  partner: Omit<Partner, 'stop'>;
  receiver: Awaited<ReturnType<typeof startReceiver>>;
  signingSecret: string;
  folder: string;
  landingFolder: string;
}

async function startParts(options: DemoOptions, cleanups: (() => Promise<unknown>)[]): Promise<Parts> {
  const { output } = options;
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'waybill-demo-')));
  cleanups.push(() => rm(folder, { recursive: true, force: true }));
  // As root PostgreSQL runs as another account, which must pass through.
  await chmod(folder, 0o711);
  const state = join(folder, 'state');
  const landingFolder = join(folder, 'landing');
  await mkdir(landingFolder);
  cleanups.push(() => removePostgres(state));

  const partnerFolder = join(folder, 'acme');
  await writeDemoFiles(join(partnerFolder, 'out'));
  const partner = await startDemoPartner(folder, partnerFolder, options, cleanups);
  const signingSecret = newSigningSecret();
  const receiver = await startReceiver(signingSecret);
  cleanups.push(() => receiver.close());
  const onProgress = (message: string): void => output.note(message);
  const dev = await startDev({ ...options, state, host: '127.0.0.1', port: 0, temporalPort: 0, uiPort: 0, onProgress });
  cleanups.push(() => dev.stop());
  return { dev, partner, receiver, signingSecret, folder, landingFolder };
}

/** The partner is a process of its own, like everything that must not outlive us. */
async function startDemoPartner(
  folder: string,
  partnerFolder: string,
  { environment, output }: DemoOptions,
  cleanups: (() => Promise<unknown>)[],
): Promise<Omit<Partner, 'stop'>> {
  const child = superviseChild(
    {
      name: 'partner',
      script: scriptPath('embedded/guard'),
      arguments: () => ['partner', JSON.stringify({ folder: partnerFolder })],
      environment: () => environment as Record<string, string>,
      logFile: join(folder, 'partner.log'),
      stopTimeoutMs: partnerStopTimeoutMs,
    },
    {
      progress: (message) => output.note(message),
      ready: () => undefined,
      died: (how) => output.note(`the SFTP partner ${how}`),
    },
  );
  cleanups.push(() => child.stop());
  const partner = (await child.firstReady) as unknown as Omit<Partner, 'stop'>;
  const what =
    partner.implementation === 'openssh'
      ? "this machine's OpenSSH sshd"
      : 'a small one on ssh2, since this machine has no sshd';
  output.note(`SFTP partner: ${what}, on ${partner.host}:${partner.port}`);
  return partner;
}

async function moveFiles(
  output: Output,
  parts: Parts,
  startedAt: number,
): Promise<{ report: DemoReport; webhook: RunningDemo['webhook'] }> {
  const { dev, receiver } = parts;
  const client = createClient(dev.facts().graphql, dev.state.readApiKey()!);
  await publishDemo(client, parts);
  output.note('published pipelines/acme-orders-inbound.yaml; running it');
  const run = await watchRun(client, await startRun(client, 'acme-orders-inbound', {}), output);
  const request = { query: deliveriesQuery, variables: { filter: { run: run.id } } };
  const deliveries = await readAll<DeliveryView>(client, request, maxDeliveries);
  const proven = await allProven(deliveries, parts.landingFolder);
  const webhook = run.status === 'succeeded' ? await receiver.received('orders.received', webhookTimeoutMs) : null;
  const verified = webhook?.verified === true;
  return {
    webhook,
    report: {
      ok: run.status === 'succeeded' && verified && proven,
      run: { id: run.id, pipeline: run.pipeline, status: run.status },
      files: run.counts.files,
      bytes: run.counts.bytes,
      deliveries: deliveries
        .map(({ source, target, bytes, sha256, state }) => ({
          source: source.path,
          target: target.path,
          bytes,
          sha256,
          state,
        }))
        .sort((a, b) => (a.source < b.source ? -1 : 1)),
      webhook: { verified },
      urls: { graphql: dev.facts().graphql, temporalUi: run.temporalUrl ?? dev.facts().temporalUi },
      seconds: Math.round((Date.now() - startedAt) / 100) / 10,
    },
  };
}

async function publishDemo(
  client: ApiClient,
  { folder, partner, landingFolder, receiver, signingSecret }: Parts,
): Promise<void> {
  const configuration = await writeDemoConfiguration(join(folder, 'configuration'), {
    partner,
    landingFolder,
    webhookUrl: receiver.url,
    signingSecret,
  });
  const draft = await readDraft([configuration, join(packageRoot(), 'pipelines', 'acme-orders-inbound.yaml')]);
  if (!draft.checked.ok)
    throw new WaybillError('invalid', 'the files of the demo hold mistakes', {
      diagnostics: draft.checked.diagnostics,
    });
  await publish(client, draft, {}, { prune: false, dryRun: false });
}

/** Reads what arrived once more, without Waybill: every file is there with the hash that the ledger says. */
async function allProven(deliveries: readonly DeliveryView[], landingFolder: string): Promise<boolean> {
  for (const { target, sha256 } of deliveries) {
    const arrived = await sha256Of(join(landingFolder, target.path)).catch(() => null);
    if (arrived === null || arrived !== sha256) return false;
  }
  return deliveries.length > 0;
}

import { readFileSync } from 'node:fs';
import { createApiKey, verifyApiKey } from '../../identity/apiKeys.ts';
import { ensureTenant, giveOwnerPassword } from '../../identity/firstRun.ts';
import { createPasswordHashing } from '../../identity/passwordHashing.ts';
import type { Store } from '../../prisma/contract.ts';
import { migrate } from '../../prisma/migrate.ts';
import { openStore } from '../../prisma/store.ts';
import { WaybillError } from '../../schema/errors.ts';
import { findTemporal } from '../embedded/findTemporal.ts';
import { assertPortFree, holdPort } from '../embedded/ports.ts';
import type { EmbeddedPostgres } from '../embedded/postgres.ts';
import { isTemporalUp, type TemporalOptions } from '../embedded/temporal.ts';
import { createLog } from '../log.ts';
import { scriptPath } from '../scriptPath.ts';
import type { CommandEnvironment, Environment } from '../settings.ts';
import { type ChildPlan, type SupervisedChild, superviseChild } from './child.ts';
import { type DevFacts, openStateFolder, type StateFolder } from './stateFolder.ts';
import { lockState, type StateLock } from './stateLock.ts';

/** Threads for file-system calls of a worker: with Node's default of 4 many small local files wait for one another. */
const workerFileThreads = '16';

export interface DevOptions {
  state: string;
  host: string;
  port: number;
  temporalPort: number;
  uiPort: number;
  /** Temporal's UI shows payloads as they are stored. Else everybody who can open it reads them. */
  encryptedUi?: boolean | undefined;
  command: CommandEnvironment;
  /** What the processes inherit. */
  environment: Environment;
  /** Ends the start early; what was started is stopped. */
  signal: AbortSignal;
  onProgress(message: string): void;
  /** Gets the owner's one-time password when the state is new. Without it none is given out. */
  onOneTimePassword?(password: string): void;
}

export interface RunningDev {
  /** As of now: process ids change when something was started again. */
  facts(): DevFacts;
  state: StateFolder;
  /** Stops everything in order: API, worker (which drains), Temporal, PostgreSQL. Safe twice. */
  stop(): Promise<void>;
  /** Ends everything at once; for the second Ctrl-C. */
  kill(): void;
}

const apiKeyDays = 90;
const defaultTenant = 'default';
const stopTimeoutsMs = { api: 15_000, worker: 30_000, temporal: 20_000, postgres: 45_000 };

type PostgresFacts = Omit<EmbeddedPostgres, 'stop'>;

/**
 * Starts the whole installation on one state folder and keeps it alive: PostgreSQL, Temporal, the API and a worker, each a
 * process of its own. Throws conflict when another one holds the state or a port is taken; whatever had been started by
 * then is stopped again.
 */
export async function startDev(options: DevOptions): Promise<RunningDev> {
  const state = openStateFolder(options.state);
  const lock = await lockState(state.path);
  const supervisor = new Supervisor(options, state, lock);
  const cancel = (): void => void supervisor.stop();
  options.signal.addEventListener('abort', cancel);
  try {
    await supervisor.start();
    return supervisor;
  } catch (error) {
    await supervisor.stop();
    throw options.signal.aborted ? new WaybillError('cancelled', 'stopped while starting', { cause: error }) : error;
  } finally {
    options.signal.removeEventListener('abort', cancel);
  }
}

class Supervisor implements RunningDev {
  readonly state: StateFolder;
  readonly #options: DevOptions;
  readonly #lock: StateLock;
  /** In the order in which they started. */
  readonly #children: SupervisedChild[] = [];
  #postgres: PostgresFacts | undefined;
  #temporal: { address: string; uiUrl: string | null; pid: number | null } | undefined;
  #apiUrl = '';
  /** Temporal is told of it before the API can listen there. */
  #apiPort: number;
  #heldPort: { release(): Promise<void> } | undefined;
  #ready = false;
  #stopping: Promise<void> | undefined;

  constructor(options: DevOptions, state: StateFolder, lock: StateLock) {
    this.#options = options;
    this.#apiPort = options.port;
    this.state = state;
    this.#lock = lock;
  }

  async start(): Promise<void> {
    const { host, port, temporalPort, uiPort, command } = this.#options;
    this.state.masterKey(command.masterKey);
    await assertPortFree(host, port, '--port');
    if (command.temporalAddress === null) {
      await assertPortFree('127.0.0.1', temporalPort, '--temporal-port');
      await assertPortFree('127.0.0.1', uiPort, '--ui-port');
    }
    if (port === 0) {
      const held = await holdPort(host);
      this.#heldPort = held;
      this.#apiPort = held.port;
    }
    await Promise.all([this.#startDatabase(), this.#startTemporal()]);
    await Promise.all([this.#startWorker(), this.#startApi()]);
    this.#ready = true;
    this.state.writeFacts(this.facts());
    this.#lock.announce(this.#apiUrl);
  }

  facts(): DevFacts {
    const pidOf = (name: string): number | null => this.#children.find((child) => child.name === name)?.pid ?? null;
    return {
      ready: true,
      graphql: `${this.#apiUrl}/graphql`,
      temporal: this.#temporal!.address,
      temporalUi: this.#temporal!.uiUrl,
      databaseUrl: this.#postgres!.ownerUrl,
      appDatabaseUrl: this.#postgres!.applicationUrl,
      apiKeyFile: this.state.apiKeyFile,
      pids: {
        api: pidOf('api'),
        workers: [pidOf('worker')].filter((pid) => pid !== null),
        temporal: this.#temporal!.pid,
        postgres: this.#postgres!.pid,
      },
    };
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stopAll();
    return this.#stopping;
  }

  kill(): void {
    // The guards are left to notice that the channel has closed: they take their servers with them.
    for (const child of this.#children) if (child.name === 'api' || child.name === 'worker') child.kill();
  }

  async #stopAll(): Promise<void> {
    this.state.removeFacts();
    for (const name of ['api', 'worker', 'temporal', 'postgres']) {
      await this.#children.find((child) => child.name === name)?.stop();
    }
    await this.#heldPort?.release();
    this.#lock.release();
  }

  async #startDatabase(): Promise<void> {
    const { onProgress } = this.#options;
    await this.#supervise({
      name: 'postgres',
      script: scriptPath('embedded/guard'),
      arguments: () => ['postgres', JSON.stringify({ stateFolder: this.state.path, port: this.#postgres?.port ?? 0 })],
      environment: () => this.#inherited(),
      onReady: (facts) => {
        this.#postgres = facts as unknown as PostgresFacts;
      },
    });
    const { ownerUrl, applicationRole, systemRole, applicationUrl, systemUrl } = this.#postgres!;
    await migrate({ ownerUrl, applicationRole, systemRole, onProgress });
    const store = openStore({ applicationUrl, systemUrl, log: createLog('dev', 'error') });
    try {
      await this.#ensureApiKey(store);
    } finally {
      await store.close();
    }
  }

  async #ensureApiKey(store: Store): Promise<void> {
    const owner = await ensureTenant(store, defaultTenant);
    const { tenantId, principalId } = owner;
    const { onOneTimePassword } = this.#options;
    if (onOneTimePassword !== undefined) {
      const password = await giveOwnerPassword(store, createPasswordHashing(), owner);
      if (password !== null) onOneTimePassword(password);
    }
    const known = this.state.readApiKey();
    const valid = known !== null && (await verifyApiKey(store, known).then(() => true, isRefused));
    if (valid) return;
    if (known !== null) this.#options.onProgress('the API key of this state is no longer valid; making a new one');
    const { secret } = await createApiKey(store, {
      tenantId,
      principalId,
      name: 'dev',
      scopes: ['*'],
      expiresInDays: apiKeyDays,
    });
    this.state.writeApiKey(secret);
  }

  async #startTemporal(): Promise<void> {
    const { command, onProgress, temporalPort, uiPort } = this.#options;
    if (command.temporalAddress !== null) {
      if (!(await isTemporalUp(command.temporalAddress))) {
        throw new WaybillError('unavailable', `no Temporal answers at TEMPORAL_ADDRESS ${command.temporalAddress}`);
      }
      onProgress(`Temporal: the one at TEMPORAL_ADDRESS ${command.temporalAddress}`);
      this.#temporal = { address: command.temporalAddress, uiUrl: command.temporalUiUrl, pid: null };
      return;
    }
    const { binary, origin } = await findTemporal(command, onProgress, this.#options.signal);
    onProgress(`starting Temporal (${origin})`);
    let ports = { port: temporalPort, uiPort };
    await this.#supervise({
      name: 'temporal',
      script: scriptPath('embedded/guard'),
      arguments: () => {
        const codec = this.#decodesForUi()
          ? {
              apiUrl: `http://${reachable(this.#options.host)}:${this.#apiPort}`,
              tokenFile: this.state.codecTokenFile(),
            }
          : null;
        const folder = this.state.temporalFolder;
        const options: TemporalOptions = { binary, folder, host: '127.0.0.1', ...ports, codec };
        return ['temporal', JSON.stringify(options)];
      },
      environment: () => this.#inherited(),
      onReady: (facts) => {
        const { address, uiUrl, pid } = facts as { address: string; uiUrl: string; pid: number };
        this.#temporal = { address, uiUrl, pid };
        ports = { port: Number(address.split(':').at(-1)), uiPort: Number(new URL(uiUrl).port) };
      },
    });
  }

  async #startApi(): Promise<void> {
    const { host } = this.#options;
    await this.#heldPort?.release();
    await this.#supervise({
      name: 'api',
      script: scriptPath('main'),
      arguments: () => ['api'],
      environment: () => ({
        ...this.#serviceEnvironment(),
        WAYBILL_HOST: host,
        WAYBILL_PORT: String(this.#apiPort),
        ...(this.#decodesForUi() && { WAYBILL_CODEC_TOKEN: readFileSync(this.state.codecTokenFile(), 'utf8').trim() }),
      }),
      onReady: (facts) => {
        this.#apiUrl = new URL(String(facts.url)).origin;
      },
    });
  }

  /** Only for a UI of ours: who can open another one is not for us to say. */
  #decodesForUi(): boolean {
    return this.#options.command.temporalAddress === null && this.#options.encryptedUi !== true;
  }

  async #startWorker(): Promise<void> {
    await this.#supervise({
      name: 'worker',
      script: scriptPath('main'),
      arguments: () => ['worker'],
      environment: () => ({ ...this.#serviceEnvironment(), UV_THREADPOOL_SIZE: workerFileThreads }),
      onReady: () => undefined,
    });
  }

  async #supervise(
    plan: Omit<ChildPlan, 'logFile' | 'stopTimeoutMs'> & { onReady(facts: Record<string, unknown>): void },
  ): Promise<void> {
    const { name, onReady } = plan;
    const { onProgress, signal } = this.#options;
    if (signal.aborted) throw new WaybillError('cancelled', 'stopped while starting');
    const logFile = this.state.logFile(name);
    const stopTimeoutMs = stopTimeoutsMs[name as keyof typeof stopTimeoutsMs];
    const child = superviseChild(
      { ...plan, logFile, stopTimeoutMs },
      {
        progress: onProgress,
        ready: (facts) => {
          onReady(facts);
          if (!this.#ready) return;
          onProgress(`${name} is up again`);
          this.state.writeFacts(this.facts());
        },
        died: (how, waitMs) => onProgress(`${name} ${how}; starting it again in ${waitMs / 1000} s (log: ${logFile})`),
      },
    );
    this.#children.push(child);
    await child.firstReady;
  }

  #serviceEnvironment(): Record<string, string> {
    const { applicationUrl, systemUrl } = this.#postgres!;
    const { address, uiUrl } = this.#temporal!;
    return {
      ...this.#inherited(),
      DATABASE_URL: applicationUrl,
      DATABASE_SYSTEM_URL: systemUrl,
      TEMPORAL_ADDRESS: address,
      ...(uiUrl === null ? {} : { TEMPORAL_UI_URL: uiUrl }),
      WAYBILL_MASTER_KEY: this.state.masterKey(this.#options.command.masterKey).toString('base64'),
      WAYBILL_LOCAL_ROOTS: '*',
      WAYBILL_EGRESS_LOOPBACK: 'true',
    };
  }

  #inherited(): Record<string, string> {
    const inherited: Record<string, string> = {};
    for (const [name, value] of Object.entries(this.#options.environment))
      if (value !== undefined) inherited[name] = value;
    return inherited;
  }
}

/** The browser that shows the UI runs where the UI listens: on this machine. */
function reachable(host: string): string {
  if (host === '0.0.0.0' || host === '::') return '127.0.0.1';
  return host.includes(':') ? `[${host}]` : host;
}

function isRefused(error: unknown): boolean {
  if (error instanceof WaybillError && error.kind === 'unauthenticated') return false;
  throw error;
}

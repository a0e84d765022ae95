import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const main = fileURLToPath(new URL('../cli/main.ts', import.meta.url));
const startTimeoutMs = 90_000;

export interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export interface CommandOptions {
  cwd?: string;
  environment?: Record<string, string | undefined>;
  input?: string;
}

/** Runs `waybill` with these words as a process, to its end. What the environment of the tests says of a server does not count. */
export async function waybill(words: readonly string[], options: CommandOptions = {}): Promise<Ended> {
  const command = startWaybill(words, options);
  command.child.stdin?.end(options.input ?? '');
  return command.ended;
}

export interface StartedCommand {
  child: ChildProcess;
  /** Settles with the first line of stdout; rejects with stderr when it ends before, or takes too long. */
  firstLine: Promise<string>;
  ended: Promise<Ended>;
}

export function startWaybill(words: readonly string[], { cwd, environment }: CommandOptions = {}): StartedCommand {
  const child = spawn(process.execPath, [main, ...words], {
    cwd,
    env: { ...process.env, WAYBILL_URL: '', WAYBILL_API_KEY: '', TEMPORAL_ADDRESS: '', ...environment },
    // The channel ends it with the tests, however they end.
    stdio: ['pipe', 'pipe', 'pipe', 'ipc'],
  });
  let stdout = '';
  let stderr = '';
  child.stdin?.on('error', () => undefined);
  child.stdout?.on('data', (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  child.stderr?.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  const ended = once(child, 'close').then(([code, signal]) => ({ code, signal, stdout, stderr }) as Ended);
  const firstLine = new Promise<string>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no line in ${startTimeoutMs} ms: ${stderr}`)), startTimeoutMs);
    const look = (): void => {
      if (!stdout.includes('\n')) return;
      clearTimeout(timer);
      resolve(stdout.slice(0, stdout.indexOf('\n')));
    };
    child.stdout?.on('data', look);
    void ended.then(({ code }) => {
      clearTimeout(timer);
      reject(new Error(`ended with ${code}: ${stderr}`));
    });
  });
  // Most tests look at one of the two only.
  firstLine.catch(() => undefined);
  return { child, firstLine, ended };
}

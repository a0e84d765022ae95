import type { ChildProcess } from 'node:child_process';

const startTimeoutMs = 20_000;
const stopTimeoutMs = 5_000;
const maxLogCharacters = 100_000;

export interface ListeningServer {
  host: string;
  port: number;
  pid: number;
  /** What it has said so far, for a test that fails. */
  log(): string;
  /** Ends the process. Safe twice. */
  stop(): Promise<void>;
}

/** A server of 127.0.0.1 that says its port, as the first group of `saying`. Throws with what it said when it does not. */
export async function listening(child: ChildProcess, saying: RegExp): Promise<ListeningServer> {
  let said = '';
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const port = await new Promise<number>((resolve, reject) => {
    const timer = setTimeout(() => fail(`says no port within ${startTimeoutMs / 1000} s`), startTimeoutMs);
    const fail = (why: string) => {
      clearTimeout(timer);
      child.kill('SIGKILL');
      reject(new Error(`${child.spawnfile} ${why}: ${said}`));
    };
    child.once('error', (error) => fail(error.message));
    child.once('exit', (code) => fail(`ended with ${code}`));
    const hear = (chunk: Buffer) => {
      said = (said + chunk.toString()).slice(-maxLogCharacters);
      const found = saying.exec(said)?.[1];
      if (found === undefined) return;
      clearTimeout(timer);
      resolve(Number(found));
    };
    child.stdout?.on('data', hear);
    child.stderr?.on('data', hear);
  });
  return {
    host: '127.0.0.1',
    port,
    pid: child.pid!,
    log: () => said,
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill('SIGTERM');
      const force = setTimeout(() => child.kill('SIGKILL'), stopTimeoutMs);
      await ended;
      clearTimeout(force);
    },
  };
}

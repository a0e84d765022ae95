import { spawn } from 'node:child_process';
import { packageRoot } from '../cli/version.ts';

/**
 * Runs a script of node_modules or of ours under this Node, with our terminal, in the clone; gives its exit code. Ends it
 * when we are told to end.
 */
export function runScript(
  script: string,
  scriptArguments: string[],
  environment: NodeJS.ProcessEnv = process.env,
): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [script, ...scriptArguments], {
      cwd: packageRoot(),
      env: environment,
      stdio: 'inherit',
    });
    const forward = (signal: NodeJS.Signals): void => void child.kill(signal);
    const gone = (): void => void child.kill('SIGTERM');
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, forward);
    process.on('disconnect', gone);
    process.channel?.unref();
    child.on('error', reject);
    child.on('exit', (code) => {
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, forward);
      process.off('disconnect', gone);
      resolve(code ?? 1);
    });
  });
}

export const scripts = {
  tsc: 'node_modules/typescript/bin/tsc',
  biome: 'node_modules/@biomejs/biome/bin/biome',
  knip: 'node_modules/knip/bin/knip.js',
  vitest: 'node_modules/vitest/vitest.mjs',
} as const;

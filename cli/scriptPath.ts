import { fileURLToPath } from 'node:url';

/** The path of a script of ours, to start as a process: TypeScript in the clone, JavaScript in the npm package. */
export function scriptPath(name: 'main' | 'embedded/guard' | 'embedded/downloadTemporal'): string {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  return fileURLToPath(new URL(`./${name}.${extension}`, import.meta.url));
}

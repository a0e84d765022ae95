/** npm run check: types, style, unused code, stale generated files. All of them run; one that fails makes the whole fail. */
import { runScript, scripts } from './command.ts';

const checks: { name: string; script: string; arguments: string[] }[] = [
  { name: 'types', script: scripts.tsc, arguments: ['-p', '.'] },
  { name: 'style', script: scripts.biome, arguments: ['check', '--error-on-warnings'] },
  { name: 'unused code', script: scripts.knip, arguments: [] },
  { name: 'generated files', script: 'tools/generate.ts', arguments: ['--check'] },
];

const failed: string[] = [];
for (const check of checks) {
  process.stdout.write(`\n== ${check.name}\n`);
  if ((await runScript(check.script, check.arguments)) !== 0) failed.push(check.name);
}
process.stdout.write(failed.length === 0 ? '\nall checks passed\n' : `\nfailed: ${failed.join(', ')}\n`);
process.exitCode = failed.length === 0 ? 0 : 1;

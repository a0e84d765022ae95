/** npm run build: the npm package in dist/, as JavaScript, with the files that are read at run time beside it. */
import { chmodSync, cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../cli/version.ts';
import { runScript, scripts } from './command.ts';

const dist = join(packageRoot(), 'dist');
rmSync(dist, { recursive: true, force: true });
process.exitCode = await runScript(scripts.tsc, ['-p', 'tsconfig.build.json']);
if (process.exitCode === 0) {
  cpSync(join(packageRoot(), 'prisma', 'migrations'), join(dist, 'prisma', 'migrations'), { recursive: true });
  cpSync(join(packageRoot(), 'prisma', 'schema.prisma'), join(dist, 'prisma', 'schema.prisma'));
  chmodSync(join(dist, 'cli', 'main.js'), 0o755);
}

/**
 * npm run generate [-- --check]
 *
 * Writes the committed files that are made from code. With --check it writes nothing and ends with 1 when one is stale.
 * The database client is generated too, by the bootstrap; it is not committed.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { printApiSchema } from '../api/printSchema.ts';
import { packageRoot } from '../cli/version.ts';
import { createRegistry } from '../connectors/registry.ts';
import { printSchemaFile } from '../language/schemaFile.ts';
import { completeLock } from './completeLock.ts';
import { printErrorReference } from './errorReference.ts';
import { printReference } from './reference.ts';

const generated: { path: string; print: () => string }[] = [
  { path: 'schema/pipeline.v1.json', print: () => printSchemaFile(createRegistry().definitions) },
  { path: 'schema/api.graphql', print: printApiSchema },
  { path: 'docs/errors.md', print: printErrorReference },
  { path: 'docs/reference.md', print: printReference },
  {
    path: 'package-lock.json',
    print: () => completeLock(readFileSync(join(packageRoot(), 'package-lock.json'), 'utf8')),
  },
];

const checkOnly = process.argv.includes('--check');
const stale = generated.filter(({ path, print }) => !isFresh(path, print()));
for (const { path, print } of stale) {
  if (!checkOnly) writeFileSync(join(packageRoot(), path), print());
  process.stdout.write(checkOnly ? `${path} is stale: npm run generate\n` : `${path} is written\n`);
}
if (stale.length === 0) process.stdout.write('generated files are fresh\n');
process.exitCode = checkOnly && stale.length > 0 ? 1 : 0;

function isFresh(path: string, text: string): boolean {
  try {
    return readFileSync(join(packageRoot(), path), 'utf8') === text;
  } catch {
    return false;
  }
}

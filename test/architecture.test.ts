import { globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { mayImport } from './importTable.ts';

/** Packages that only one folder may import, and files of other folders that are excused, with the reason. */
const packageOwners: Record<string, string> = {
  pg: 'prisma',
  ssh2: 'connectors/sftp',
  '@prisma/client': 'prisma',
  '@prisma/adapter-pg': 'prisma',
};
const maxFileLines = 400;

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const files = globSync(
  '{schema,language,workflows,activities,connectors,network,prisma,identity,audit,api,cli}/**/*.ts',
  { cwd: root },
)
  .filter((file) => !file.includes('generated'))
  .sort();
const sources = files.filter((file) => !file.endsWith('.test.ts'));

describe('the map of the repository', () => {
  test('holds files', () => expect(sources.length).toBeGreaterThan(50));

  test('is kept by every import', () => {
    expect(sources.flatMap(forbiddenImports)).toEqual([]);
  });

  test('is kept by every package that belongs to one folder', () => {
    const wrong = sources.flatMap((file) =>
      importsOf(file)
        .filter(
          (target) =>
            packageOwners[target] !== undefined &&
            !file.startsWith(packageOwners[target]) &&
            !file.startsWith('cli/demo'),
        )
        .map((target) => `${file} imports ${target}, which belongs to ${packageOwners[target]}/`),
    );
    expect(wrong).toEqual([]);
  });

  test('keeps the environment in one file', () => {
    expect(sources.filter((file) => /process\.env/.test(read(file)) && !file.startsWith('cli/'))).toEqual([]);
  });

  test('has no file of more than 400 lines', () => {
    expect(files.filter((file) => read(file).split('\n').length > maxFileLines)).toEqual([]);
  });

  test('has no folder or file whose name says nothing', () => {
    expect(files.filter((file) => /(^|\/)(utils?|helpers?|managers?|services?|common)\.ts$/i.test(file))).toEqual([]);
  });

  test('has SQL with values in the text nowhere', () => {
    expect(
      sources.filter((file) => /\$(query|execute)RawUnsafe/.test(read(file)) && file !== 'prisma/store.ts'),
    ).toEqual([]);
  });
});

function forbiddenImports(file: string): string[] {
  const folder = file.split('/')[0]!;
  const allowed = mayImport[folder];
  if (allowed === undefined) return [];
  return importsOf(file)
    .filter((target) => target.startsWith('.'))
    .map((target) => relative('.', normalize(join(dirname(file), target))))
    .filter((target) => !target.startsWith(`${folder}/`) || leavesItsConnector(file, target))
    .filter(
      (target) =>
        leavesItsConnector(file, target) ||
        !allowed.some((entry) => target === entry || target.startsWith(`${entry}/`)),
    )
    .map((target) => `${file} imports ${target}`);
}

/** A connector never imports another connector. */
function leavesItsConnector(file: string, target: string): boolean {
  const [own, other] = [file, target].map((path) => /^connectors\/([^/]+)\//.exec(path)?.[1]);
  return own !== undefined && other !== undefined && own !== other;
}

/** Modules that a file imports or re-exports at run time. */
function importsOf(file: string): string[] {
  const text = read(file);
  const statements = text.matchAll(/^(?:import|export)\s+(?!type\b)(?:[^'";]*?\sfrom\s+)?['"]([^'"]+)['"]/gm);
  const dynamic = text.matchAll(/\bimport\(\s*['"]([^'"]+)['"]\s*\)/g);
  return [...statements, ...dynamic].map((match) => match[1]!);
}

function read(file: string): string {
  return readFileSync(join(root, file), 'utf8');
}

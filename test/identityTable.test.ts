import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { signInMutations } from '../api/visitors.ts';
import { readPage, repositoryRoot, tableRows } from './documents.ts';

/** The source of the tests, with what is quoted in them as it is read. */
function testSource(name: string): string {
  const [api, test] = [`api/${name}.integration.test.ts`, `test/${name}.integration.test.ts`];
  const path = [api, test].find((candidate) => existsSync(join(repositoryRoot, candidate)));
  expect(path, `there are tests called ${name}`).toBeDefined();
  return readFileSync(join(repositoryRoot, path!), 'utf8').replaceAll('\\"', '"');
}

const rows = tableRows(readPage('docs/identity.md'), 'the document', 'here', 'test');

test.each(rows.map(([words, here, tests]) => [words!, here!, tests!] as const))(
  'a test names the sentence %s',
  (words, here, tests) => {
    const sources = tests.split(', ').map((named) => {
      const [name, chapter] = named.split(' ');
      const source = testSource(name!);
      if (chapter !== undefined) expect(source).toMatch(new RegExp(`describe\\('${chapter.replaceAll('.', '\\.')} `));
      return source;
    });
    const quoted = [...words.matchAll(/"([^"]+)"/g)].map(([, fragment]) => fragment!);
    expect(quoted.length).toBeGreaterThan(0);
    for (const fragment of quoted)
      expect(
        sources.some((source) => source.includes(fragment)),
        fragment,
      ).toBe(true);
    expect(here).not.toBe('');
  },
);

test('the table is not empty, and has a row for each of the seven', () => {
  const text = rows.flat().join(' ');
  for (const method of signInMutations) expect(text).toContain(`\`${method}\``);
  expect(rows.length).toBeGreaterThan(20);
});

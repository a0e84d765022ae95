import picomatch from 'picomatch/posix.js';
import { describe, expect, test } from 'vitest';
import { Random } from '../test/random.ts';
import { compileGlob, hasGlobSigns } from './glob.ts';

describe('a glob', () => {
  const cases: Array<[glob: string, yes: string[], no: string[]]> = [
    ['/out/*.csv', ['/out/a.csv', '/out/a.b.csv'], ['/out/.csv', '/out/sub/a.csv', '/out/a.CSV', '/out/a.csv2']],
    ['/out/*', ['/out/a'], ['/out/', '/out/.hidden', '/out/a/b']],
    ['/**/*.csv', ['/a.csv', '/x/y/a.csv'], ['/x/.git/a.csv', '/x/a.txt']],
    ['/out/**', ['/out/a', '/out/x/y'], ['/other/a', '/out/x/.y']],
    ['/a/**/b', ['/a/b', '/a/x/b', '/a/x/y/b'], ['/a/xb', '/a/.x/b']],
    ['/ORD_??.csv', ['/ORD_12.csv'], ['/ORD_1.csv', '/ORD_1/.csv']],
    ['/[a-c]x[!0-9]', ['/axz', '/cx-'], ['/dxz', '/ax5', '/ax/']],
    ['/{in,out/{a,b}}/*', ['/in/x', '/out/a/x', '/out/b/x'], ['/out/x', '/a/x']],
    ['/a{,b}c', ['/ac', '/abc'], ['/abbc']],
    ['/report (1)*.csv', ['/report (1).csv', '/report (1) final.csv'], ['/report 1.csv']],
    ['/a\\*b', ['/a*b'], ['/axb']],
    ['/été_*', ['/été_1'], ['/ete_1']],
    ['/!(x)', ['/!(x)'], ['/y']],
  ];
  test.each(cases)('%s', (glob, yes, no) => {
    const { matches } = compileGlob(glob);
    expect(yes.filter((path) => !matches(path))).toEqual([]);
    expect(no.filter((path) => matches(path))).toEqual([]);
  });

  test.each(['', '/a{b', '/a[b', '/{1..3}', 'x'.repeat(5000)])('%s is refused', (glob) => {
    expect(() => compileGlob(glob)).toThrow('glob');
  });

  test('agrees with picomatch on many random patterns and paths', () => {
    const numbers = new Random(20_261_102);
    const random = () => numbers.fraction();
    const pick = (choices: readonly string[]) => choices[Math.floor(random() * choices.length)]!;
    const signs = ['a', 'b', '.', '*', '?', '/', '/**/', '[ab]', '[^a]', '{a,b}', '{a,*.b}'];
    const letters = ['a', 'b', '.', '/', 'c'];
    let compared = 0;
    for (let round = 0; round < 20_000; round++) {
      const pattern = tidy(`/${Array.from({ length: 1 + Math.floor(random() * 5) }, () => pick(signs)).join('')}`);
      const path = tidy(`/${Array.from({ length: 1 + Math.floor(random() * 6) }, () => pick(letters)).join('')}`);
      if (differsByDesign(pattern, path)) continue;
      compared++;
      const expected = picomatch(pattern, { dot: false, noextglob: true, nonegate: true, strictSlashes: true })(path);
      expect(compileGlob(pattern).matches(path), `${pattern} on ${path}`).toBe(expected);
    }
    expect(compared).toBeGreaterThan(5_000);
  });

  test('takes linear time where a regular expression takes minutes', () => {
    const started = performance.now();
    expect(compileGlob('/ORD_*_*_*_*_*_*_*_*.csv').matches(`/ORD_${'_'.repeat(240)}`)).toBe(false);
    expect(performance.now() - started).toBeLessThan(200);
  });
});

test('signs of a glob count only when they are not escaped', () => {
  expect(['a*', 'a?', '[a', '{a', '\\\\*'].map(hasGlobSigns)).toEqual([true, true, true, true, true]);
  expect(['abc', 'a\\*', '(1)', '!x'].map(hasGlobSigns)).toEqual([false, false, false, false]);
});

function tidy(path: string): string {
  return path.replace(/\/+/g, '/').replace(/(.)\/$/, '$1');
}

/**
 * Where we differ: a final double star does not match the folder itself, one at the root matches files of the root, and
 * neither a class nor a wildcard in braces takes a leading dot.
 */
function differsByDesign(pattern: string, path: string): boolean {
  if (/(^|\/)\.{1,2}(\/|$)/.test(path) || /(^|\/)\.{1,2}(\/|$)/.test(pattern)) return true;
  return pattern.endsWith('/**') || pattern.startsWith('/**/') || (/\[\^|\{.*\*/.test(pattern) && path.includes('/.'));
}

import { describe, expect, test } from 'vitest';
import { globBase, globMatcher, globPrefix, parseLocation } from './location.ts';

const endpoints = { partner: 'acme-sftp', landing: 'landing-zone' };

describe('a location', () => {
  test('in its short form is a path, or a glob when it holds a sign of one', () => {
    expect(parseLocation('partner:/out//a.csv', endpoints)).toEqual({
      alias: 'partner',
      endpoint: 'acme-sftp',
      path: '/out/a.csv',
      glob: null,
    });
    expect(parseLocation('partner:out/*.csv', endpoints)).toEqual({
      alias: 'partner',
      endpoint: 'acme-sftp',
      path: null,
      glob: '/out/*.csv',
    });
    expect(parseLocation('landing:/in/', endpoints).path).toBe('/in/');
  });

  test('in its long form takes signs of a glob in a path as part of the name', () => {
    expect(parseLocation({ endpoint: 'partner', path: '/out/a[1]*.csv' }, endpoints)).toMatchObject({
      path: '/out/a[1]*.csv',
      glob: null,
    });
    expect(parseLocation({ endpoint: 'partner', glob: '/out/{a,b}' }, endpoints)).toMatchObject({
      path: null,
      glob: '/out/{a,b}',
    });
  });

  test.each([
    ['nowhere:/a', 'not declared'],
    ['toString:/a', 'not declared'],
    ['/a', 'does not begin with the alias'],
    ['partner:/a/../b', 'cannot leave'],
    ['partner:/a/../*', 'cannot leave'],
    ['partner:/{a,..}/*', 'cannot leave'],
    ['partner:/a\u0000b', 'control character'],
    ['partner:', 'is empty'],
    ['partner:/out/*/', 'names a folder'],
    ['partner:/out/[', 'without its ]'],
  ])('%j is refused', (text, words) => {
    expect(() => parseLocation(text, endpoints)).toThrow(words);
  });

  test.each([[null], [5], [[]], [{ endpoint: 'partner' }], [{ endpoint: 'partner', path: '/a', glob: '/b' }]])(
    '%j is refused',
    (value) => {
      expect(() => parseLocation(value as never, endpoints)).toThrow('a location is');
    },
  );
});

test('the base of a glob is its fixed folder', () => {
  expect(['/out/*.csv', '/*', '/out/a/**/x', '/out/a.csv', '/a\\[1/*', '/{a,b}/c'].map(globBase)).toEqual([
    '/out',
    '/',
    '/out/a',
    '/out',
    '/a[1',
    '/',
  ]);
});

test('the prefix of a glob is its text before the first sign, unescaped', () => {
  const globs = ['/out/ORD_*', '/**/ORD_1.csv', '/out/a.csv', '/a\\[1\\*/x?', '/{a,b}/c', '/in/[ab]', '/a\\\\*'];
  expect(globs.map(globPrefix)).toEqual(['/out/ORD_', '/', '/out/a.csv', '/a[1*/x', '/', '/in/', '/a\\']);
});

test('a matcher takes any of its globs, relative ones from the root', () => {
  const matches = globMatcher(['/out/*.csv', 'tmp/*']);
  expect(['/out/a.csv', '/tmp/x', '/out/a.txt', '/x/tmp/x'].map(matches)).toEqual([true, true, false, false]);
});

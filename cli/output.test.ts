import { expect, test } from 'vitest';
import { printable, table } from './output.ts';

test('columns are as wide as their longest cell, also when its letters are wide or coloured', () => {
  const lines = table(
    ['NAME', 'BYTES'],
    [
      ['注文書', '1'],
      ['\u001b[31mred\u001b[39m', '22'],
      ['abcdef', '333'],
    ],
  );
  expect(lines).toEqual(['NAME    BYTES', '注文書  1', '\u001b[31mred\u001b[39m     22', 'abcdef  333']);
});

test('text from outside cannot steer the terminal', () => {
  expect(printable('a\u001b[2Jb\nc\u202ed')).toBe('a\\u001b[2Jb\\u000ac\\u202ed');
  expect(printable(null)).toBe('-');
});

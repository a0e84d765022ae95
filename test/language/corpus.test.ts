import { describe, expect, test } from 'vitest';
import { diagnosticCodes } from '../../language/codes.ts';
import { checkCorpusFile, printDiagnostics } from './corpus.ts';
import { corpus, expectedDiagnostics } from './corpusFiles.ts';

describe('a file with mistakes', () => {
  test.each(corpus('bad').map((entry) => [entry.file, entry] as const))(
    '%s: each is told at its place, in plain words',
    (file, entry) => {
      const result = checkCorpusFile(entry);
      expect(printDiagnostics(result.diagnostics)).toBe(expectedDiagnostics(file));
      expect(result.ok).toBe(!result.diagnostics.some(({ severity }) => severity === 'error'));
    },
  );

  test('of which there are enough to be a corpus', () => {
    expect(corpus('bad').length).toBeGreaterThanOrEqual(100);
  });

  test('for every code that there is', () => {
    const given = corpus('bad')
      .map(({ file }) => expectedDiagnostics(file))
      .join('');
    const never = Object.keys(diagnosticCodes).filter((code) => !new RegExp(`^\\S+ \\w+ ${code} `, 'm').test(given));
    expect(never).toEqual([]);
  });

  test('and none of what is said shows a secret, a trace of code or a machine', () => {
    const said = corpus('bad')
      .map(({ file }) => expectedDiagnostics(file))
      .join('');
    expect(said).not.toMatch(/hunter2|BEGIN [A-Z ]*KEY|\bat .*\(.*:\d+:\d+\)|node_modules|undefined|\[object|NaN/);
  });
});

describe('a file without mistakes', () => {
  test('there are enough of them to be a corpus', () => {
    expect(corpus('good').length).toBeGreaterThanOrEqual(30);
  });

  test.each(corpus('good').map((entry) => [entry.file, entry] as const))(
    '%s is accepted without a word',
    (_, entry) => {
      const result = checkCorpusFile(entry);
      expect(printDiagnostics(result.diagnostics)).toBe('');
      expect(result.documents.length).toBeGreaterThan(0);
    },
  );
});

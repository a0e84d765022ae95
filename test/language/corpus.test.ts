import { describe, expect, test } from 'vitest';
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
    expect(corpus('bad').length).toBeGreaterThanOrEqual(50);
  });
});

describe('a file without mistakes', () => {
  test.each(corpus('good').map((entry) => [entry.file, entry] as const))(
    '%s is accepted without a word',
    (_, entry) => {
      const result = checkCorpusFile(entry);
      expect(printDiagnostics(result.diagnostics)).toBe('');
      expect(result.documents.length).toBeGreaterThan(0);
    },
  );
});

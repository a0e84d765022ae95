import sarifSchema from '@microsoft/jest-sarif/lib/schemas/sarif-2.1.0-rtm.5.json' with { type: 'json' };
import { Ajv } from 'ajv';
import { describe, expect, test } from 'vitest';
import { createRegistry } from '../connectors/registry.ts';
import type { Diagnostic } from '../schema/diagnostics.ts';
import { checkCorpusFile } from '../test/language/corpus.ts';
import { corpus } from '../test/language/corpusFiles.ts';
import { check } from './check.ts';
import { formatGithub } from './githubAnnotations.ts';
import { formatSarif } from './sarif.ts';

const { definitions: connectors } = createRegistry();
const mistake: Diagnostic = {
  code: 'UNKNOWN_KEY',
  severity: 'error',
  message: 'unknown key "lables"',
  file: './partners/acme orders.yaml',
  line: 3,
  column: 1,
  endLine: 3,
  endColumn: 7,
  suggestion: 'did you mean labels?',
  docsUrl: 'docs/errors.md#unknown-key',
};

describe('mistakes as SARIF', () => {
  // The schema of the standard, as its authors publish it in their package.
  // It is draft-04, which differs from what Ajv knows in the name of the schema only: no number in it is exclusive.
  const { $schema: _, id: __, ...schema } = sarifSchema as Record<string, unknown>;
  const validate = new Ajv({ strict: false, allErrors: true, validateFormats: false, unicodeRegExp: false }).compile(
    schema,
  );
  const problems = (log: unknown): unknown => (validate(log) ? [] : validate.errors);

  test('are what the standard asks for, for every file of the corpus', () => {
    for (const entry of [...corpus('bad'), ...corpus('good')]) {
      const { diagnostics } = checkCorpusFile(entry);
      const log = JSON.parse(formatSarif(diagnostics, '1.2.3'));
      expect([entry.file, problems(log)]).toEqual([entry.file, []]);
      expect(log.runs[0].results).toHaveLength(diagnostics.length);
    }
  });

  test('have a place, a rule, words and what to do', () => {
    const [run] = JSON.parse(
      formatSarif([mistake, { ...mistake, code: 'UNUSED_ALIAS', severity: 'warning' }], '1.2.3'),
    ).runs;
    expect(run.tool.driver).toMatchObject({ name: 'waybill', version: '1.2.3' });
    expect(run.results[0]).toEqual({
      ruleId: 'UNKNOWN_KEY',
      ruleIndex: 0,
      level: 'error',
      message: { text: 'unknown key "lables"; did you mean labels?' },
      locations: [
        {
          physicalLocation: {
            artifactLocation: { uri: 'partners/acme%20orders.yaml' },
            region: { startLine: 3, startColumn: 1, endLine: 3, endColumn: 7 },
          },
        },
      ],
    });
    expect(run.results[1]).toMatchObject({ level: 'warning', ruleIndex: 1 });
    expect(run.tool.driver.rules.map(({ id }: { id: string }) => id)).toEqual(['UNKNOWN_KEY', 'UNUSED_ALIAS']);
  });

  test('of a file with an absolute path name it as a file', () => {
    const [run] = JSON.parse(formatSarif([{ ...mistake, file: '/srv/a b.yaml' }], '1.2.3')).runs;
    expect(run.results[0].locations[0].physicalLocation.artifactLocation.uri).toBe('file:///srv/a%20b.yaml');
  });

  test('are an empty list when there are none', () => {
    const log = JSON.parse(formatSarif([], '1.2.3'));
    expect(problems(log)).toEqual([]);
    expect(log.runs[0].results).toEqual([]);
  });
});

describe('mistakes for GitHub Actions', () => {
  test('are a command each, with the place', () => {
    expect(formatGithub([mistake, { ...mistake, severity: 'warning', suggestion: null }])).toBe(
      [
        '::error file=./partners/acme orders.yaml,line=3,col=1,endLine=3,endColumn=7,title=UNKNOWN_KEY::unknown key "lables" (did you mean labels?)',
        '::warning file=./partners/acme orders.yaml,line=3,col=1,endLine=3,endColumn=7,title=UNKNOWN_KEY::unknown key "lables"',
      ].join('\n'),
    );
  });

  test('cannot begin a command of their own, whatever the file holds', () => {
    const text = 'pipeline: acme-orders\napiVersion: waybill/v1\n"x\\n::set-env name=A::b%0A,:": 1\nsteps: []\n';
    const { diagnostics } = check([{ file: 'a,b:c%\n::error::x.yaml', text }], { connectors });
    const lines = formatGithub(diagnostics).split('\n');
    expect(lines).toHaveLength(diagnostics.length);
    expect(lines.every((line) => line.startsWith('::error file=a%2Cb%3Ac%25%0A%3A%3Aerror%3A%3Ax.yaml,line='))).toBe(
      true,
    );
    expect(lines.join('')).toContain('unknown key "x%0A::set-env name=A::b%250A,:"');
  });
});

import { describe, expect, test } from 'vitest';
import { createRegistry } from '../connectors/registry.ts';
import { check } from './check.ts';
import { diagnosticCodes } from './codes.ts';
import { errorReference, formatJson, formatText } from './diagnostics.ts';

const files = [
  {
    file: 'orders.yaml',
    text: 'pipeline: acme-orders\napiVersion: waybill/v1\nlables: { a: b }\nsteps: [ { use: audit.write@1, with: { event: a.b } } ]\n',
  },
];
const connectors = createRegistry().definitions;

describe('mistakes as text', () => {
  test('begin with the place, and show it with what to do', () => {
    expect(formatText(check(files, { connectors }), files, { color: false })).toBe(
      [
        'orders.yaml:3:1 error unknown key "lables" [UNKNOWN_KEY]',
        '  2 | apiVersion: waybill/v1',
        '> 3 | lables: { a: b }',
        '    | ^^^^^^',
        '  4 | steps: [ { use: audit.write@1, with: { event: a.b } } ]',
        '  hint: did you mean labels?',
        '  see docs/errors.md#unknown-key',
        '',
        '1 error',
      ].join('\n'),
    );
  });

  test('have colours only when asked for', () => {
    expect(formatText(check(files, { connectors }), files, { color: true })).toContain('\u001b[31merror');
    expect(formatText(check(files, { connectors }), files, { color: false })).not.toContain('\u001b');
  });

  test('never show a secret that stands in the file, nor control characters', () => {
    const text =
      'endpoint: acme-sftp\napiVersion: waybill/v1\nconnector: sftp\nconfig: { host: "\u001b[2Jx", prot: 1 }\nsecrets:\n  password: hunter2\n  passphras: { env: X }\n';
    const hostile = [{ file: 'a.yaml', text }];
    const shown = formatText(check(hostile, { connectors }), hostile, { color: false });
    expect(shown).toContain('INLINE_SECRET');
    expect(shown).not.toContain('hunter2');
    expect(shown).not.toContain('\u001b');
  });

  test('are no mistakes when there are none', () => {
    expect(formatText({ diagnostics: [], ignored: [] }, [], { color: false })).toBe('no mistakes');
  });
});

test('mistakes as JSON have every field', () => {
  const { ok, diagnostics } = JSON.parse(formatJson(check(files, { connectors })));
  expect(ok).toBe(false);
  expect(diagnostics).toEqual([
    {
      code: 'UNKNOWN_KEY',
      severity: 'error',
      message: 'unknown key "lables"',
      file: 'orders.yaml',
      line: 3,
      column: 1,
      endLine: 3,
      endColumn: 7,
      suggestion: 'did you mean labels?',
      docsUrl: 'docs/errors.md#unknown-key',
    },
  ]);
});

test('the reference has an entry for every code, under the anchor that docsUrl names', () => {
  for (const code of Object.keys(diagnosticCodes))
    expect(errorReference()).toContain(`## ${code.toLowerCase().replaceAll('_', '-')}\n\n\`${code}\``);
});

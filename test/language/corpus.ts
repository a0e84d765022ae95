import { readdirSync, readFileSync } from 'node:fs';
import { createRegistry } from '../../connectors/registry.ts';
import { check } from '../../language/check.ts';
import type { Diagnostic } from '../../schema/diagnostics.ts';

/** The files in `good/` have no mistakes; beside each file in `bad/` stands what is to be said about it, a line a mistake. */
export interface CorpusFile {
  file: string;
  text: string;
}

const folder = new URL('.', import.meta.url);

export function corpus(kind: 'good' | 'bad'): CorpusFile[] {
  const names = readdirSync(new URL(`${kind}/`, folder)).filter((name) => name.endsWith('.yaml'));
  return names.sort().map((file) => ({ file, text: readFileSync(new URL(`${kind}/${file}`, folder), 'utf8') }));
}

export function expectedDiagnostics(file: string): string {
  return readFileSync(new URL(`bad/${file.replace(/\.yaml$/, '.expected')}`, folder), 'utf8');
}

/** The endpoints that the corpus takes as published. */
const knownEndpoints = new Set(['acme-sftp', 'landing-s3', 'landing-zone']);
const connectors = createRegistry().definitions;

export function checkCorpusFile({ file, text }: CorpusFile) {
  return check([{ file, text }], {
    connectors,
    knownEndpoints: file === 'unknown-endpoint.yaml' ? new Set() : knownEndpoints,
  });
}

/** `12:7-12:14 error UNKNOWN_KEY unknown key "verfy" (did you mean verify?)` */
export function printDiagnostics(diagnostics: readonly Diagnostic[]): string {
  return diagnostics
    .map(({ line, column, endLine, endColumn, severity, code, message, suggestion }) => {
      return `${line}:${column}-${endLine}:${endColumn} ${severity} ${code} ${message}${suggestion === null ? '' : ` (${suggestion})`}\n`;
    })
    .join('');
}

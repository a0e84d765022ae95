import { createRegistry } from '../../connectors/registry.ts';
import { check } from '../../language/check.ts';
import type { Diagnostic } from '../../schema/diagnostics.ts';
import type { CorpusFile } from './corpusFiles.ts';

/** The endpoints that the corpus takes as published. */
const knownEndpoints = new Set(['acme-sftp', 'landing-s3', 'landing-zone', 'acme-shop', 'acme-mail']);
/** The applications that the corpus takes as those that runs may act under. */
const knownApplications = new Set([10, 20, 1001]);
const connectors = createRegistry().definitions;

export function checkCorpusFile({ file, text }: CorpusFile) {
  return check([{ file, text }], {
    connectors,
    knownEndpoints: file === 'unknown-endpoint.yaml' ? new Set() : knownEndpoints,
    knownApplications,
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

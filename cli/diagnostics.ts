import type { Diagnostic } from '../schema/diagnostics.ts';

/** Mistakes that the server found, one line each with its place. The files may have changed since, so no frame. */
export function formatDiagnostics(diagnostics: readonly Diagnostic[]): string {
  return diagnostics
    .map(({ file, line, column, severity, code, message, suggestion }) => {
      const hint = suggestion === null ? '' : `\n    ${suggestion}`;
      return `${file}:${line}:${column}: ${severity} ${code}: ${message}${hint}`;
    })
    .join('\n');
}

import type { Diagnostic } from '../schema/diagnostics.ts';

/** The mistakes as workflow commands of GitHub Actions, a line each: they stand beside the changed lines of a pull request. */
export function formatGithub(diagnostics: readonly Diagnostic[]): string {
  return diagnostics.map(annotation).join('\n');
}

function annotation(diagnostic: Diagnostic): string {
  const { code, severity, message, suggestion, file, line, column, endLine, endColumn } = diagnostic;
  const text = suggestion === null ? message : `${message} (${suggestion})`;
  const properties = { file, line, col: column, endLine, endColumn, title: code };
  const written = Object.entries(properties).map(([key, value]) => `${key}=${escapeProperty(String(value))}`);
  return `::${severity} ${written.join(',')}::${escapeData(text)}`;
}

/** What the runner unescapes; anything else could end the command and begin another. */
function escapeData(text: string): string {
  return text.replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A');
}

function escapeProperty(text: string): string {
  return escapeData(text).replaceAll(':', '%3A').replaceAll(',', '%2C');
}

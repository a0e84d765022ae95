import { codeFrameColumns } from '@babel/code-frame';
import type { Diagnostic } from '../schema/diagnostics.ts';
import type { CheckResult, SourceFile } from './check.ts';
import { diagnosticCodes } from './codes.ts';

export interface FormatOptions {
  /** ANSI colours. */
  color: boolean;
}

/** The mistakes for people: one block each, `file:line:column` first, with the place in the file and what to do. */
export function formatText(
  result: Pick<CheckResult, 'diagnostics' | 'ignored'>,
  files: readonly SourceFile[],
  options: FormatOptions,
): string {
  const texts = new Map(files.map(({ file, text }) => [file, text]));
  const secretLines = linesWithSecrets(result.diagnostics);
  const paint = painter(options.color);
  const blocks = result.diagnostics.map((diagnostic) => {
    const { file, line, column, severity, message, code, suggestion, docsUrl } = diagnostic;
    const head = `${paint('bold', `${file}:${line}:${column}`)} ${paint(severity === 'error' ? 'red' : 'yellow', severity)} ${message} ${paint('dim', `[${code}]`)}`;
    const frame = frameOf(diagnostic, texts.get(file), secretLines, options);
    const hint = suggestion === null ? [] : [`  ${paint('cyan', 'hint:')} ${suggestion}`];
    return [head, ...frame, ...hint, `  ${paint('dim', `see ${docsUrl}`)}`].join('\n');
  });
  const ignored = result.ignored.map(({ file, reason }) => paint('dim', `${file}: ignored, ${reason}`));
  return [...blocks, ...(ignored.length > 0 ? [ignored.join('\n')] : []), summary(result.diagnostics)].join('\n\n');
}

/** The mistakes for programs, as pipeline-language.md describes them. */
export function formatJson(result: Pick<CheckResult, 'ok' | 'diagnostics'>): string {
  return JSON.stringify({ ok: result.ok, diagnostics: result.diagnostics });
}

/** The reference of all codes, for the docs. */
export function errorReference(): string {
  const sections = Object.entries(diagnosticCodes).map(([code, [severity, summary, advice]]) => {
    const anchor = code.toLowerCase().replaceAll('_', '-');
    return `## ${anchor}\n\n\`${code}\` (${severity}). ${summary} ${advice}\n`;
  });
  return sections.join('\n');
}

const maxFrameColumns = 200;

function frameOf(
  diagnostic: Diagnostic,
  text: string | undefined,
  secretLines: ReadonlySet<string>,
  options: FormatOptions,
): string[] {
  if (text === undefined || diagnostic.code === 'FILE_TOO_LARGE') return [];
  const { file, line, column, endLine, endColumn } = diagnostic;
  const shown = text.split('\n').map((content, index) => {
    if (secretLines.has(`${file}:${index + 1}`)) return '(not shown: a secret)';
    // A terminal obeys control characters, whoever wrote them.
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is replaced
    return content.slice(0, maxFrameColumns).replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '?');
  });
  if (column > maxFrameColumns) return [];
  const sameLine = endLine === line && endColumn > column;
  // The frame counts columns from 0, and its end is exclusive as ours is.
  const end = sameLine ? { line, column: Math.min(endColumn, maxFrameColumns) - 1 } : undefined;
  const frame = codeFrameColumns(
    shown.join('\n'),
    { start: { line, column: column - 1 }, ...(end ? { end } : {}) },
    { linesAbove: 1, linesBelow: 1, highlightCode: false, forceColor: options.color },
  );
  return [frame];
}

/** Lines in which a secret was found: they are shown in no frame of the file. */
function linesWithSecrets(diagnostics: readonly Diagnostic[]): ReadonlySet<string> {
  const lines = new Set<string>();
  for (const { code, file, line, endLine } of diagnostics) {
    if (code !== 'INLINE_SECRET') continue;
    for (let at = line; at <= endLine; at++) lines.add(`${file}:${at}`);
  }
  return lines;
}

function summary(diagnostics: readonly Diagnostic[]): string {
  const errors = diagnostics.filter(({ severity }) => severity === 'error').length;
  const warnings = diagnostics.length - errors;
  if (diagnostics.length === 0) return 'no mistakes';
  const count = (number: number, word: string) => `${number} ${word}${number === 1 ? '' : 's'}`;
  return [errors > 0 ? count(errors, 'error') : '', warnings > 0 ? count(warnings, 'warning') : '']
    .filter(Boolean)
    .join(', ');
}

const styles = { bold: 1, dim: 2, red: 31, yellow: 33, cyan: 36 } as const;

function painter(color: boolean): (style: keyof typeof styles, text: string) => string {
  return (style, text) => (color ? `\u001b[${styles[style]}m${text}\u001b[0m` : text);
}

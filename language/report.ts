import type { LineCounter } from 'yaml';
import type { Diagnostic } from '../schema/diagnostics.ts';
import { type DiagnosticCode, diagnosticCodes, docsUrlOf } from './codes.ts';

/** Offsets into the text of a file; the end is exclusive. */
export type SourceRange = readonly [start: number, end: number];

/** Collects the mistakes of one file, turning offsets into lines and columns. Keeps the first `maxDiagnostics`. */
export interface Report {
  add(code: DiagnosticCode, range: SourceRange, message: string, suggestion?: string): void;
  readonly diagnostics: readonly Diagnostic[];
  /** How many errors there are, also those that are hidden (warnings do not count). */
  readonly errors: number;
  /** Expressions that may still be checked: each costs a fraction of a millisecond, and a file may not take long. */
  expressionsLeft: number;
  /** The line of an offset, from 1. */
  lineOf(offset: number): number;
  /** Nothing more is said about that part: a mistake in it has been reported, and what was read instead is a guess. */
  hide(range: SourceRange): void;
}

export const maxDiagnostics = 200;
export const maxExpressions = 2_000;

export function createReport(file: string, lines: LineCounter): Report {
  const diagnostics: Diagnostic[] = [];
  const seen = new Set<string>();
  const hidden: SourceRange[] = [];
  let errors = 0;
  const push = (code: DiagnosticCode, range: SourceRange, message: string, suggestion: string | null) => {
    const start = position(lines, range[0]);
    const end = position(lines, Math.max(range[0], range[1]));
    const severity = diagnosticCodes[code][0];
    if (severity === 'error') errors++;
    diagnostics.push({
      code,
      severity,
      message,
      file,
      line: start.line,
      column: start.column,
      endLine: end.line,
      endColumn: end.column,
      suggestion,
      docsUrl: docsUrlOf(code),
    });
  };
  return {
    diagnostics,
    expressionsLeft: maxExpressions,
    get errors() {
      return errors;
    },
    lineOf: (offset) => position(lines, offset).line,
    hide(range) {
      hidden.push(range);
    },
    add(code, range, message, suggestion) {
      if (diagnostics.length > maxDiagnostics) return;
      if (hidden.some(([start, end]) => start <= range[0] && range[1] <= end)) {
        if (diagnosticCodes[code][0] === 'error') errors++;
        return;
      }
      const key = `${code} ${range[0]} ${message}`;
      if (seen.has(key)) return;
      seen.add(key);
      if (diagnostics.length === maxDiagnostics) {
        push('TOO_MANY_MISTAKES', range, `more than ${maxDiagnostics} mistakes; the others are not listed`, null);
      } else push(code, range, message, suggestion ?? null);
    },
  };
}

function position(lines: LineCounter, offset: number): { line: number; column: number } {
  const { line, col } = lines.linePos(offset);
  return { line: Math.max(1, line), column: Math.max(1, col) };
}

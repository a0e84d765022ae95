/** One mistake in a file. Lines and columns begin at 1; the end is exclusive. */
export interface Diagnostic {
  code: string;
  severity: 'error' | 'warning';
  message: string;
  file: string;
  line: number;
  column: number;
  endLine: number;
  endColumn: number;
  suggestion: string | null;
  docsUrl: string;
}

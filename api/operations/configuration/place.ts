import { LineCounter, parseAllDocuments } from 'yaml';
import type { SourceFile } from '../../../language/check.ts';
import type { Diagnostic } from '../../../schema/diagnostics.ts';
import { type ApiErrorCode, docsUrl } from '../../errorCatalogue.ts';

/** An error at the secret of that name in a document that the language has found right; at the file's beginning when it is not found. */
export function secretDiagnostic(
  file: SourceFile,
  document: { kind: string; name: string },
  secret: string,
  mistake: { code: ApiErrorCode; message: string; suggestion: string | null },
): Diagnostic {
  return {
    ...mistake,
    severity: 'error',
    file: file.file,
    ...rangeOf(file.text, document, secret),
    docsUrl: docsUrl(mistake.code),
  };
}

function rangeOf(text: string, { kind, name }: { kind: string; name: string }, secret: string) {
  const lines = new LineCounter();
  for (const document of parseAllDocuments(text, { lineCounter: lines })) {
    if (!('getIn' in document) || document.get(kind) !== name) continue;
    const node = document.getIn(['secrets', secret], true) as { range?: [number, number, number] | null } | undefined;
    if (!node?.range) continue;
    const from = lines.linePos(node.range[0]);
    const to = lines.linePos(node.range[1]);
    return { line: from.line, column: from.col, endLine: to.line, endColumn: to.col };
  }
  return { line: 1, column: 1, endLine: 1, endColumn: 1 };
}

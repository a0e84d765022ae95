import { CST, Lexer } from 'yaml';
import type { Diagnostic } from '../schema/diagnostics.ts';
import { contentHash } from './contentHash.ts';
import { documentKind, looksOwn } from './documentKind.ts';
import { layOut } from './layout.ts';
import { parseSource, type SourceDocument } from './source.ts';

export type Formatted =
  | { state: 'formatted'; text: string }
  /** It cannot be read: nothing is changed before these mistakes are corrected. */
  | { state: 'broken'; diagnostics: readonly Diagnostic[] }
  /** It is not ours, or cannot be laid out without loss. */
  | { state: 'left alone'; reason: string };

/**
 * The canonical layout of a file of pipelines, endpoints and webhooks. What comes out means the same (each document has the
 * same content hash) and holds the same comments; when that cannot be had, the file is left alone. Never throws.
 */
export function formatFile(file: string, text: string): Formatted {
  const { documents, report } = parseSource(file, text);
  if (/\.test\.ya?ml$/.test(file)) return { state: 'left alone', reason: 'tests of a pipeline have no layout yet' };
  if (!documents.some((document) => documentKind(document)) && !(report.errors > 0 && looksOwn(text)))
    return { state: 'left alone', reason: 'it has no pipeline, endpoint or webhook' };
  if (report.diagnostics.length > 0) return { state: 'broken', diagnostics: report.diagnostics };
  // Git may check files out with either; what the layout is about is everything else.
  const lineBreak = text.includes('\r\n') ? '\r\n' : '\n';
  const source = text.replace(/^\ufeff/, '').replaceAll('\r\n', '\n');
  for (const reorder of [true, false]) {
    const formatted = settled(source, reorder);
    if (
      formatted !== null &&
      sameMeaning(documents, parseSource(file, formatted).documents) &&
      sameComments(source, formatted)
    )
      return { state: 'formatted', text: formatted.replaceAll('\n', lineBreak) };
  }
  return { state: 'left alone', reason: 'it cannot be laid out without losing a comment' };
}

const maxRounds = 4;

/** The layout that is its own layout. A comment can find its final place only in the second round. */
function settled(source: string, reorder: boolean): string | null {
  let current = source;
  for (let round = 0; round < maxRounds; round++) {
    const next = layOutOrNull(current, reorder);
    if (next === null) return null;
    if (next === current) return current;
    current = next;
  }
  return null;
}

function layOutOrNull(text: string, reorder: boolean): string | null {
  try {
    return layOut(text, { reorder });
  } catch {
    // The other order, or the file as it is, is tried instead.
    return null;
  }
}

function sameMeaning(before: readonly SourceDocument[], after: readonly SourceDocument[]): boolean {
  const hashes = (documents: readonly SourceDocument[]) =>
    documents.map(({ root }) => contentHash(root.value)).join(' ');
  return hashes(before) === hashes(after);
}

function sameComments(before: string, after: string): boolean {
  return commentsOf(before).sort().join('\n') === commentsOf(after).sort().join('\n');
}

/** The texts of the comments of a file, in order. */
export function commentsOf(text: string): string[] {
  const comments: string[] = [];
  let scalarNext = false;
  for (const token of new Lexer().lex(text)) {
    const type: string | null = scalarNext ? 'scalar' : CST.tokenType(token);
    scalarNext = !scalarNext && type === 'scalar';
    if (type === 'comment') comments.push(token.trim());
  }
  return comments;
}

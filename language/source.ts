import {
  CST,
  type Document,
  isAlias,
  isMap,
  isPair,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  type Node,
  parseAllDocuments,
  type Scalar,
  type YAMLError,
} from 'yaml';
import type { Json } from '../schema/plan.ts';
import { createReport, type Report, type SourceRange } from './report.ts';
import { sourceOffsets } from './sourceOffsets.ts';

/** A value of a file together with where it stands. Look keys up in `entries`; in `value` every object has `constructor`. */
export interface Located {
  value: Json;
  range: SourceRange;
  entries?: Map<string, { key: SourceRange; value: Located }>;
  items?: Located[];
  /** For a text: the offset in the file of the n-th character of the value (n may be its length). */
  offsetAt?: (index: number) => number;
}

export interface SourceDocument {
  root: Located;
  /** The text of this document alone. */
  text: string;
  range: SourceRange;
  /** Whether its YAML was read without error. */
  sound: boolean;
  /** Whether all of it was read; what has too many values is not looked at further. */
  complete: boolean;
}

export interface ParsedSource {
  documents: SourceDocument[];
  report: Report;
}

/** What a file may hold. They keep every check far below a second, whatever the bytes are. */
export const sourceLimits = {
  characters: 1_048_576,
  tokens: 100_000,
  depth: 64,
  values: 50_000,
  documents: 500,
} as const;

/** Reads YAML 1.2 (core schema) with positions. Reports mistakes instead of throwing. */
export function parseSource(file: string, text: string): ParsedSource {
  const lines = new LineCounter();
  const report = createReport(file, lines);
  const documents: SourceDocument[] = [];
  // Positions are wanted for every file, also for one that is refused before it is parsed.
  lines.lineStarts = lineStarts(text);
  const refusal = tooMuch(text);
  if (refusal) {
    report.add(refusal.code, [refusal.offset, refusal.offset + 1], refusal.message);
    return { documents, report };
  }
  const { read, masked } = parseMasked(text, report);
  for (const document of read) {
    const isEmpty = document.contents === null && document.errors.length === 0;
    if (isEmpty) continue;
    reportSyntax(report, document.errors);
    const [start, , end] = document.range;
    const reader = new Reader(masked, report);
    const root = reader.read(document.contents, 0);
    const sound = document.errors.length === 0 && masked === text;
    documents.push({ root, text: text.slice(start, end), range: [start, end], sound, complete: !reader.exhausted });
  }
  return { documents, report };
}

function parse(text: string): Document.Parsed[] {
  const documents = parseAllDocuments(text, {
    version: '1.2',
    schema: 'core',
    uniqueKeys: false,
    strict: true,
    prettyErrors: false,
    logLevel: 'silent',
  });
  return Array.isArray(documents) ? (documents as Document.Parsed[]) : [];
}

function lineStarts(text: string): number[] {
  const starts = [0];
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) starts.push(at + 1);
  return starts;
}

/**
 * Looks at the tokens before the parser does: it recurses, and a file that brings it near the end of the stack can end
 * the whole process (the engine's regular expression compiler gives up there without an exception).
 */
function tooMuch(text: string): { code: 'FILE_TOO_LARGE' | 'TOO_DEEP'; message: string; offset: number } | null {
  if (text.length > sourceLimits.characters)
    return { code: 'FILE_TOO_LARGE', message: 'the file is larger than 1 MiB', offset: 0 };
  let offset = 0;
  let tokens = 0;
  let documents = 0;
  let flow = 0;
  let inLine = 0;
  let indents: number[] = [];
  let lineStart = true;
  let scalarNext = false;
  for (const token of new Lexer().lex(text)) {
    // The lexer announces a plain scalar by a token of its own; the next one is its text, whatever it looks like.
    const type: string | null = scalarNext ? 'scalar-text' : CST.tokenType(token);
    scalarNext = type === 'scalar';
    if (++tokens > sourceLimits.tokens)
      return { code: 'FILE_TOO_LARGE', message: 'the file has too many parts', offset };
    if (type === 'doc-start' && ++documents > sourceLimits.documents) {
      return { code: 'FILE_TOO_LARGE', message: `the file has more than ${sourceLimits.documents} documents`, offset };
    }
    if (type === 'newline') {
      lineStart = true;
      inLine = 0;
    } else if (type !== 'space' || lineStart) {
      if (lineStart && flow === 0 && type !== 'comment') {
        const indent = type === 'space' ? token.length : 0;
        indents = indents.filter((open) => open < indent);
        indents.push(indent);
      }
      lineStart = false;
    }
    if (type === 'flow-map-start' || type === 'flow-seq-start') flow++;
    else if (type === 'flow-map-end' || type === 'flow-seq-end') flow = Math.max(0, flow - 1);
    else if (flow === 0 && (type === 'seq-item-ind' || type === 'explicit-key-ind' || type === 'map-value-ind'))
      inLine++;
    if (flow + inLine + indents.length > sourceLimits.depth)
      return { code: 'TOO_DEEP', message: `values are nested more than ${sourceLimits.depth} deep`, offset };
    if (type !== 'doc-mode' && type !== 'flow-error-end' && type !== 'scalar') offset += token.length;
  }
  return null;
}

/**
 * Unquoted expressions are the commonest reason why YAML cannot be read. Those on the line of the first error are
 * reported, and replaced by plain words of the same length, so that everything else can still be checked at its true
 * place; and again, until the first error has another reason.
 */
function parseMasked(text: string, report: Report): { read: Document.Parsed[]; masked: string } {
  let masked = text;
  let read = parse(text);
  const rounds = Math.min(maxMaskingRounds, Math.floor(sourceLimits.characters / Math.max(1, text.length)));
  for (let round = 0; round < rounds; round++) {
    const error = read.find((document) => document.errors.length > 0)?.errors[0];
    const next = error ? maskLine(masked, error.pos[0], report) : masked;
    if (next === masked) break;
    masked = next;
    read = parse(masked);
  }
  return { read, masked };
}

const maxMaskingRounds = 20;

function maskLine(text: string, at: number, report: Report): string {
  let masked = text;
  const lineStart = text.lastIndexOf('\n', at - 1) + 1;
  const lineEnd = text.indexOf('\n', lineStart) < 0 ? text.length : text.indexOf('\n', lineStart);
  const line = text.slice(lineStart, Math.min(lineEnd, lineStart + maxMaskedLine));
  for (const match of line.matchAll(/\$\{\{.*?\}\}/g)) {
    if (isQuoted(line.slice(0, match.index))) continue;
    const range: SourceRange = [lineStart + match.index, lineStart + match.index + match[0].length];
    const quote = match[0].includes('"') ? "'" : '"';
    report.add(
      'EXPRESSION_NOT_QUOTED',
      range,
      'YAML cannot read an expression that is not quoted',
      `write ${quote}${match[0]}${quote}`,
    );
    report.hide(range);
    masked = masked.slice(0, range[0]) + 'x'.repeat(match[0].length) + masked.slice(range[1]);
  }
  return masked;
}

const maxMaskedLine = 2_000;

function isQuoted(before: string): boolean {
  const count = (quote: string) => before.split(quote).length - 1;
  return count('"') % 2 === 1 || count("'") % 2 === 1;
}

/** Once a document has an error, tokens that it did not expect after it say nothing new. */
function reportSyntax(report: Report, errors: readonly YAMLError[]): void {
  for (const [index, error] of errors.entries()) {
    if (index > 0 && error.code === 'UNEXPECTED_TOKEN') continue;
    if (error.code === 'RESOURCE_EXHAUSTION') report.add('TOO_DEEP', error.pos, 'values are nested too deeply');
    else report.add('YAML_SYNTAX', error.pos, syntaxWords(error));
  }
}

function syntaxWords(error: YAMLError): string {
  const words: Partial<Record<string, string>> = {
    TAB_AS_INDENT: 'tabs cannot indent; use spaces',
    MULTIPLE_ANCHORS: 'a value can have one anchor only',
    BAD_INDENT: `wrong indentation: ${lower(error.message)}`,
  };
  return words[error.code] ?? lower(error.message);
}

function lower(message: string): string {
  return message.charAt(0).toLowerCase() + message.slice(1);
}

/** Turns nodes into values, with limits of its own: aliases are followed, so that a small file could become a large value. */
class Reader {
  private readonly text: string;
  private readonly report: Report;
  private readonly anchors = new Map<string, Located>();
  private values = 0;
  exhausted = false;

  constructor(text: string, report: Report) {
    this.text = text;
    this.report = report;
  }

  read(node: Node | null | undefined, depth: number, fallback: SourceRange = [0, 0]): Located {
    const range = rangeOf(node, fallback);
    if (++this.values > sourceLimits.values || depth > sourceLimits.depth) {
      if (!this.exhausted)
        this.report.add(
          depth > sourceLimits.depth ? 'TOO_DEEP' : 'FILE_TOO_LARGE',
          range,
          depth > sourceLimits.depth
            ? `values are nested more than ${sourceLimits.depth} deep`
            : 'the file has too many values',
        );
      this.exhausted = true;
      return { value: null, range };
    }
    if (isAlias(node)) return this.alias(node.source, range);
    const located = this.readPlain(node, depth, range);
    if (node && 'anchor' in node && node.anchor) this.anchors.set(node.anchor, located);
    return located;
  }

  private readPlain(node: Node | null | undefined, depth: number, range: SourceRange): Located {
    if (node?.tag && !node.tag.startsWith('tag:yaml.org,2002:'))
      this.report.add('UNSUPPORTED_YAML', range, `the tag ${node.tag.slice(0, 60)} is not part of the language`);
    if (isMap(node)) return this.mapping(node.items, depth, range);
    if (isSeq(node)) {
      const items = node.items.map((item) => this.read(isPair(item) ? null : (item as Node), depth + 1, range));
      return { value: items.map((item) => item.value), range, items };
    }
    return isScalar(node) ? this.scalar(node, range) : { value: null, range };
  }

  private scalar(node: Scalar, range: SourceRange): Located {
    const { value } = node;
    if (typeof value === 'bigint') return { value: Number(value), range };
    if (typeof value === 'string') return { value, range, offsetAt: sourceOffsets(this.text, node, range) };
    if (typeof value === 'number' && !Number.isFinite(value)) {
      this.report.add('INVALID_VALUE', range, 'infinite and undefined numbers are not part of the language');
      return { value: null, range };
    }
    return { value: value === null || typeof value === 'number' || typeof value === 'boolean' ? value : null, range };
  }

  private mapping(items: ReadonlyArray<{ key: unknown; value: unknown }>, depth: number, range: SourceRange): Located {
    const entries = new Map<string, { key: SourceRange; value: Located }>();
    const value: Record<string, Json> = {};
    for (const pair of items) {
      const key = rangeOf(pair.key as Node | null, range);
      if (
        !isScalar(pair.key) ||
        (typeof pair.key.value !== 'string' &&
          typeof pair.key.value !== 'number' &&
          typeof pair.key.value !== 'boolean')
      ) {
        this.report.add('UNSUPPORTED_YAML', key, 'a key must be a plain text');
        continue;
      }
      const name = String(pair.key.value);
      if (name === '__proto__') {
        this.report.add('UNSUPPORTED_YAML', key, 'the key __proto__ is not allowed');
        continue;
      }
      const read = this.read(pair.value as Node | null, depth + 1, [key[1], key[1]]);
      if (entries.has(name)) {
        this.report.add('DUPLICATE_KEY', key, `the key "${name.slice(0, 100)}" stands twice`);
        continue;
      }
      entries.set(name, { key, value: read });
      value[name] = read.value;
    }
    return { value, range, entries };
  }

  private alias(name: string, range: SourceRange): Located {
    const target = this.anchors.get(name);
    if (!target) {
      this.report.add('UNKNOWN_ALIAS', range, `there is no anchor &${name.slice(0, 60)} before this alias`);
      return { value: null, range };
    }
    this.values += countValues(target, sourceLimits.values);
    if (this.values > sourceLimits.values && !this.exhausted) {
      this.exhausted = true;
      this.report.add('TOO_MANY_ALIASES', range, `aliases expand to more than ${sourceLimits.values} values`);
    }
    return this.exhausted ? { value: null, range } : target;
  }
}

function countValues(located: Located, limit: number): number {
  let count = 0;
  const pending: Located[] = [located];
  while (pending.length > 0 && count <= limit) {
    const next = pending.pop()!;
    count++;
    if (next.items) pending.push(...next.items);
    if (next.entries) for (const entry of next.entries.values()) pending.push(entry.value);
  }
  return count;
}

function rangeOf(node: Node | null | undefined, fallback: SourceRange): SourceRange {
  const range = node?.range;
  return range ? [range[0], range[1]] : fallback;
}

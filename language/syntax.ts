import { Composer, type Document, Lexer, Parser, type YAMLError } from 'yaml';
import { maxDiagnostics, type Report, type SourceRange } from './report.ts';
import { createTokenGuard } from './sourceLimits.ts';

/**
 * Some mistakes make the rest of a file unreadable. The commonest are reported, and what is wrong is replaced by as many
 * plain characters, so that everything else is still checked at its true place; and again, until the first error is of
 * another kind. `masked` is the text that was read in the end.
 */
export function parseRepaired(
  text: string,
  report: Report,
  maxRounds: number,
): { read: Document.Parsed[] | null; masked: string } {
  let masked = text;
  let read = parse(text, report);
  for (let round = 0; round < maxRounds; round++) {
    const error = read?.find((document) => document.errors.length > 0)?.errors[0];
    const next = error ? repair(masked, error, report) : masked;
    if (next === masked) break;
    masked = next;
    read = parse(masked, report);
  }
  return { read, masked };
}

/** The documents of a text, or null, with a report, when it holds more than a file may. */
function parse(text: string, report: Report): Document.Parsed[] | null {
  // The parser's errors are told by their place in the text; the stack of each costs more than the reading.
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    return readDocuments(text, report);
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

function readDocuments(text: string, report: Report): Document.Parsed[] | null {
  const refuse = createTokenGuard();
  const parser = new Parser();
  const composer = new Composer({
    version: '1.2',
    schema: 'core',
    uniqueKeys: false,
    strict: true,
    logLevel: 'silent',
  });
  const documents: Document.Parsed[] = [];
  for (const lexeme of new Lexer().lex(text)) {
    const refusal = refuse(lexeme);
    if (refusal !== null) {
      report.add(refusal.code, [refusal.offset, refusal.offset + 1], refusal.message);
      return null;
    }
    for (const token of parser.next(lexeme)) documents.push(...composer.next(token));
  }
  for (const token of parser.end()) documents.push(...composer.next(token));
  documents.push(...composer.end());
  return documents;
}

/** Once a document has an error, tokens that it did not expect after it say nothing new, nor does a second error in one line. */
export function reportSyntax(report: Report, errors: readonly YAMLError[], text: string): void {
  const lines = new Set<number>();
  for (const [index, error] of errors.entries()) {
    if (index > 0 && error.code === 'UNEXPECTED_TOKEN') continue;
    const line = text.lastIndexOf('\n', error.pos[0] - 1);
    if (lines.has(line)) continue;
    lines.add(line);
    // One more than are listed, so that it is said that there are more.
    if (lines.size > maxDiagnostics + 1) return;
    if (error.code === 'RESOURCE_EXHAUSTION') report.add('TOO_DEEP', error.pos, 'values are nested too deeply');
    else addSyntax(report, error, text);
  }
}

function addSyntax(report: Report, error: YAMLError, text: string): void {
  const { message, suggestion, range } = syntaxWords(error, text);
  report.add('YAML_SYNTAX', range ?? error.pos, message, suggestion);
}

interface SyntaxWords {
  message: string;
  suggestion?: string;
  range?: SourceRange;
}

function syntaxWords(error: YAMLError, text: string): SyntaxWords {
  const message = error.message.charAt(0).toLowerCase() + error.message.slice(1);
  if (error.code === 'TAB_AS_INDENT') return { message: 'tabs cannot indent; use spaces' };
  if (error.code === 'MULTIPLE_ANCHORS') return { message: 'a value can have one anchor only' };
  const bracket = /^Flow (?:map|sequence) .*end with a ([}\]])$/.exec(error.message)?.[1];
  if (bracket !== undefined)
    return {
      message: `a ${bracket} is missing before this line, or the line is not indented as deep as what it closes`,
    };
  if (error.code === 'BAD_INDENT') return { message: `wrong indentation: ${message}` };
  if (error.code === 'BAD_SCALAR_START')
    return { message: `a text cannot begin with ${text[error.pos[0]]}`, suggestion: 'put it in quotes' };
  if (error.code === 'BLOCK_AS_IMPLICIT_KEY') return deeperThanItsKey(error, text) ?? { message };
  if (/^Missing closing (["'])quote/.test(error.message)) return neverClosed(error, text) ?? { message };
  if (error.code === 'MULTILINE_IMPLICIT_KEY' || /map keys need to be followed/.test(error.message))
    return { message: 'this line is no key: a key has `: ` behind it' };
  return { message };
}

/** A line that is indented deeper than the text above it allows. */
function deeperThanItsKey(error: YAMLError, text: string): SyntaxWords | undefined {
  const lineEnd = text.indexOf('\n', error.pos[0]);
  const next = /^\r?\n?([ ]+)([^\s:#]+)/.exec(text.slice(lineEnd));
  if (lineEnd < 0 || !next) return undefined;
  const start = lineEnd + next[0].length - next[2]!.length;
  return {
    message: 'wrong indentation: this line stands deeper than the key above it',
    suggestion: 'begin it in the column of that key',
    range: [start, start + next[2]!.length],
  };
}

/** The quote that is open at the end of the text, where the parser notices it. */
function neverClosed(error: YAMLError, text: string): SyntaxWords | undefined {
  const quote = error.message.includes('"') ? '"' : "'";
  const opening = new RegExp(`(?:[:[{,-] *|^ *)${quote}(?=[^${quote}\\n]*$)`, 'gm');
  const at = [...text.slice(0, Math.min(error.pos[1], maxSearched)).matchAll(opening)].at(-1);
  if (!at) return undefined;
  const start = at.index + at[0].length - 1;
  return { message: 'this quote is never closed', range: [start, start + 1] };
}

const maxSearched = 200_000;
/** A longer line is nobody's mistake of this kind. */
const maxRepairedLine = 2_000;

function repair(text: string, error: YAMLError, report: Report): string {
  const [at] = error.pos;
  const start = text.lastIndexOf('\n', at - 1) + 1;
  const end = text.indexOf('\n', start) < 0 ? text.length : text.indexOf('\n', start);
  const line = text.slice(start, Math.min(end, start + maxRepairedLine)).replace(/\r$/, '');
  const expressions = quoteExpressions(text, start, line, report);
  if (expressions !== text) return expressions;
  if (error.code === 'BLOCK_AS_IMPLICIT_KEY') return quoteText(text, at, line.slice(at - start), report);
  if (error.code === 'MULTILINE_IMPLICIT_KEY') return separateKey(text, start, line, report);
  return text;
}

/** An unquoted `${{ }}`, the commonest reason why YAML cannot be read. */
function quoteExpressions(text: string, lineStart: number, line: string, report: Report): string {
  let masked = text;
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
    masked = mask(masked, range, report);
  }
  return masked;
}

function isQuoted(before: string): boolean {
  const count = (quote: string) => before.split(quote).length - 1;
  return count('"') % 2 === 1 || count("'") % 2 === 1;
}

/** `description: one: two` */
function quoteText(text: string, at: number, rest: string, report: Report): string {
  const value = rest.replace(/\s+(#.*)?$/, '');
  if (!/:\s/.test(value) && !value.endsWith(':')) return text;
  const quote = value.includes('"') ? "'" : '"';
  const range: SourceRange = [at, at + value.length];
  const shown = value.length <= 100 && !value.includes("'") ? `write ${quote}${value}${quote}` : 'put it in quotes';
  report.add('YAML_SYNTAX', range, 'a text that holds `: ` must be in quotes', shown);
  return mask(text, range, report);
}

/** `use:audit.write@1` */
function separateKey(text: string, lineStart: number, line: string, report: Report): string {
  const [, before, key, value] = /^((?:[ ]|- )*)([A-Za-z]\w*):([^\s:].*?)\s*$/.exec(line) ?? [];
  if (before === undefined || key === undefined || value === undefined) return text;
  const start = lineStart + before.length;
  report.add(
    'YAML_SYNTAX',
    [start, start + key.length + 1],
    `a blank is missing behind \`${key.slice(0, 60)}:\``,
    `write ${`${key}: ${value}`.slice(0, 100)}`,
  );
  // As many characters, and a key with a text.
  const length = key.length + 1 + value.length;
  if (length < 4) return text;
  const replaced = `${'x'.repeat(length - 3)}: x`;
  report.hide([start, start + length]);
  return text.slice(0, start) + replaced + text.slice(start + length);
}

/** Plain characters in its place; nothing more is said about it. */
function mask(text: string, range: SourceRange, report: Report): string {
  report.hide(range);
  return text.slice(0, range[0]) + 'x'.repeat(range[1] - range[0]) + text.slice(range[1]);
}

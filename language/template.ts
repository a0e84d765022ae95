/** Texts with `${{ cel }}` in them, cut into their parts. Pure: the interpreter workflow uses it too. */
export interface TemplatePart {
  kind: 'text' | 'expression';
  /** The text, or the CEL between `${{` and `}}`. */
  text: string;
  /** Where `text` begins in the template. */
  offset: number;
}

export interface Template {
  parts: TemplatePart[];
  /** The one CEL expression when the template is nothing but one `${{ }}`: its value keeps its type. */
  exact: string | null;
  /** Offset of a `${{` that is never closed, or null. */
  openAt: number | null;
}

const opening = '${{';

/** Whether a text holds an expression at all. */
export function hasExpression(text: string): boolean {
  return text.includes(opening);
}

/** Cuts a text at its expressions. `}}` inside a CEL string or after a CEL `{` does not close. Never throws. */
export function parseTemplate(text: string): Template {
  const parts: TemplatePart[] = [];
  let at = 0;
  while (true) {
    const start = text.indexOf(opening, at);
    if (start < 0) break;
    const end = endOfExpression(text, start + opening.length);
    if (end < 0) return { parts, exact: null, openAt: start };
    if (start > at) parts.push({ kind: 'text', text: text.slice(at, start), offset: at });
    parts.push({ kind: 'expression', text: text.slice(start + opening.length, end), offset: start + opening.length });
    at = end + 2;
  }
  if (at < text.length) parts.push({ kind: 'text', text: text.slice(at), offset: at });
  const expressions = parts.filter((part) => part.kind === 'expression');
  const alone =
    expressions.length === 1 && parts.every((part) => part.kind === 'expression' || part.text.trim() === '');
  return { parts, exact: alone ? expressions[0]!.text : null, openAt: null };
}

/** The CEL of a key that is an expression (`if`, `forEach`, `where`): bare, or with one `${{ }}` around it. */
export function bareExpression(text: string): { cel: string; offset: number } {
  const template = parseTemplate(text);
  if (template.exact === null) return { cel: text, offset: 0 };
  const part = template.parts.find((candidate) => candidate.kind === 'expression')!;
  return { cel: part.text, offset: part.offset };
}

/** The text with each expression replaced by `x`: what can be said about its fixed parts. */
export function withoutExpressions(text: string): string {
  if (!hasExpression(text)) return text;
  return parseTemplate(text)
    .parts.map((part) => (part.kind === 'text' ? part.text : 'x'))
    .join('');
}

function endOfExpression(text: string, from: number): number {
  let braces = 0;
  for (let at = from; at < text.length; at++) {
    const character = text[at]!;
    if (character === '"' || character === "'") at = endOfString(text, at);
    else if (character === '{') braces++;
    else if (character === '}') {
      if (braces > 0) braces--;
      else if (text[at + 1] === '}') return at;
    }
  }
  return -1;
}

/** Index of the last character of a CEL string that begins at `from`, or of the text when it never ends. */
function endOfString(text: string, from: number): number {
  const quote = text[from]!;
  const close = text.startsWith(quote.repeat(3), from) ? quote.repeat(3) : quote;
  for (let at = from + close.length; at < text.length; at++) {
    if (text[at] === '\\') at++;
    else if (text.startsWith(close, at)) return at + close.length - 1;
  }
  return text.length;
}

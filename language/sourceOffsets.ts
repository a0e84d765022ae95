import type { Scalar } from 'yaml';
import type { SourceRange } from './report.ts';

/**
 * Where the characters of a YAML text stand in the file: the value of `"a\tb"` has three characters, its source six. The
 * two are walked side by side: escapes, doubled quotes, folded lines and the indentation of block texts are stepped over.
 * Made on demand, since few texts hold an expression.
 */
export function sourceOffsets(text: string, node: Scalar, range: SourceRange): (index: number) => number {
  let offsets: number[] | undefined;
  return (index) => {
    offsets ??= align(text, node, range);
    return offsets[Math.max(0, Math.min(index, offsets.length - 1))] ?? range[0];
  };
}

function align(text: string, node: Scalar, range: SourceRange): number[] {
  const value = String(node.value);
  const block = node.type === 'BLOCK_LITERAL' || node.type === 'BLOCK_FOLDED';
  const quoted = node.type === 'QUOTE_DOUBLE' || node.type === 'QUOTE_SINGLE';
  const indent = block ? blockIndent(text, range, value) : 0;
  let at = block ? text.indexOf('\n', range[0]) + 1 + indent : range[0] + (quoted ? 1 : 0);
  const offsets: number[] = [];
  let index = 0;
  while (index < value.length && at < range[1]) {
    const character = value[index]!;
    if (node.type === 'QUOTE_DOUBLE' && text[at] === '\\') {
      const sign = escapeLength(text, at);
      if (sign.lineBreak) at = skipBlank(text, at + sign.length);
      else {
        for (let unit = 0; unit < sign.units; unit++) offsets[index++] = at;
        at += sign.length;
      }
    } else if (node.type === 'QUOTE_SINGLE' && text[at] === "'" && text[at + 1] === "'") {
      offsets[index++] = at;
      at += 2;
    } else if (text[at] === character && character !== '\n' && !(character === ' ' && foldsAt(text, at, block))) {
      offsets[index++] = at++;
    } else if (/\s/.test(text[at]!)) {
      at = skipFold(text, at, block, indent, () => {
        if (value[index] === ' ' || value[index] === '\n') offsets[index++] = at;
      });
    } else {
      // The two have parted, which no known style does: better the beginning of the text than a wrong place in it.
      return Array.from({ length: value.length + 1 }, () => range[0]);
    }
  }
  while (offsets.length <= value.length) offsets.push(Math.min(at, range[1]));
  return offsets;
}

/** In block texts the blanks before a line break belong to the value; elsewhere they are folded away. */
function foldsAt(text: string, at: number, block: boolean): boolean {
  return !block && /^[ \t]*\r?\n/.test(text.slice(at, at + 200));
}

function skipFold(text: string, from: number, block: boolean, indent: number, take: () => void): number {
  let at = from;
  if (block) {
    if (text[at] === '\r') at++;
    take();
    if (text[at] === '\n') at++;
    for (let column = 0; column < indent && text[at] === ' '; column++) at++;
    return Math.max(at, from + 1);
  }
  take();
  let breaks = 0;
  while (at < text.length && /\s/.test(text[at]!)) {
    if (text[at] === '\n' && ++breaks > 2) take();
    at++;
  }
  return at;
}

function skipBlank(text: string, from: number): number {
  let at = from;
  while (text[at] === ' ' || text[at] === '\t') at++;
  return at;
}

function escapeLength(text: string, at: number): { length: number; units: number; lineBreak: boolean } {
  const sign = text[at + 1];
  if (sign === 'x') return { length: 4, units: 1, lineBreak: false };
  if (sign === 'u') return { length: 6, units: 1, lineBreak: false };
  if (sign === 'U')
    return { length: 10, units: Number.parseInt(text.slice(at + 2, at + 10), 16) > 0xffff ? 2 : 1, lineBreak: false };
  if (sign === '\n') return { length: 2, units: 0, lineBreak: true };
  if (sign === '\r') return { length: 3, units: 0, lineBreak: true };
  return { length: 2, units: 1, lineBreak: false };
}

/** The blanks that are cut off each line after the header (`|`, `>-`, `|2` ...): those of the first line with a text, but for what the value keeps of them. */
function blockIndent(text: string, range: SourceRange, value: string): number {
  const header = text.indexOf('\n', range[0]);
  const match = /^(?:[ \t]*\r?\n)*( *)\S/.exec(text.slice(header + 1, range[1]));
  const kept = /^\s*?( *)\S/.exec(value)?.[1]?.length ?? 0;
  return match ? match[1]!.length - kept : 0;
}

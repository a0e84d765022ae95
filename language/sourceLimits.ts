import { CST } from 'yaml';

/** What a file may hold. They keep every check far below a second, whatever the bytes are. */
export const sourceLimits = {
  characters: 1_048_576,
  tokens: 100_000,
  depth: 64,
  values: 50_000,
  documents: 500,
} as const;

export interface Refusal {
  code: 'FILE_TOO_LARGE' | 'TOO_DEEP';
  message: string;
  offset: number;
}

/**
 * Looks at each token of a file before the parser does: it recurses, and a file that brings it near the end of the stack
 * can end the whole process (the engine's regular expression compiler gives up there without an exception). Gives why
 * the file is refused, or null.
 */
export function createTokenGuard(): (token: string) => Refusal | null {
  let offset = 0;
  let tokens = 0;
  let documents = 0;
  let flow = 0;
  let inLine = 0;
  let indents: number[] = [];
  let lineStart = true;
  let scalarNext = false;
  return (token) => {
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
    return null;
  };
}

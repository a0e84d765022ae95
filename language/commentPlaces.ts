import type { CST } from 'yaml';

type Block = CST.BlockMap | CST.BlockSequence;

/**
 * Gives comments to what they are indented like. The parser leaves a run of comments at the end of the innermost list or
 * mapping when the first of them belongs there, although the later ones stand further to the left: above the next key.
 */
export function placeComments(token: CST.Token | undefined): void {
  if (token?.type === 'document') placeComments(token.value);
  if (!isBlock(token)) return;
  for (let index = 0; index < token.items.length; index++) {
    const { value } = token.items[index]!;
    if (!isBlock(value)) continue;
    placeComments(value);
    const next = token.items[index + 1];
    // A list may stand as far to the left as its key: then the next key decides.
    const indent = value.indent === token.indent && next ? value.indent + 1 : value.indent;
    const outside = takeOutside(value, indent);
    if (outside.length === 0) continue;
    if (next) next.start.unshift(...outside);
    else token.items.push({ start: outside } as never);
  }
}

/** Removes the comments at the end of a block from the first on that is indented less. */
function takeOutside(block: Block, indent: number): CST.SourceToken[] {
  const last = block.items.at(-1);
  if (!last || last.key || last.sep || last.value) return [];
  const comment = last.start.findIndex((token) => token.type === 'comment' && token.indent < indent);
  if (comment < 0) return [];
  const cut = last.start[comment - 1]?.type === 'space' ? comment - 1 : comment;
  const outside = last.start.splice(cut);
  if (last.start.length === 0) block.items.pop();
  return outside;
}

function isBlock(token: CST.Token | null | undefined): token is Block {
  return token?.type === 'block-map' || token?.type === 'block-seq';
}

import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const repositoryRoot = fileURLToPath(new URL('..', import.meta.url));

/** A fenced block of a page. */
export interface Block {
  file: string;
  /** Of its first line of text. */
  line: number;
  /** `yaml`, `sh`, ... */
  language: string;
  /** What follows the language: `steps`, `bad`, `file=orders.yaml`. */
  info: string;
  text: string;
}

export interface Page {
  /** Relative to the repository. */
  file: string;
  blocks: Block[];
  /** The page without its fenced blocks, lines kept. */
  prose: string;
  /** What a link to a heading of the page may say after `#`. */
  anchors: string[];
}

/** Every page of documentation that we write or generate. */
export function readPages(): Page[] {
  const files = globSync(['README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md', 'docs/**/*.md'], { cwd: repositoryRoot });
  return files.sort().map((file) => readPage(file));
}

export function readPage(file: string): Page {
  const blocks: Block[] = [];
  const prose: string[] = [];
  let open: Block | undefined;
  for (const [index, line] of readFileSync(join(repositoryRoot, file), 'utf8').split('\n').entries()) {
    const fence = /^```(\S*) ?(.*)$/.exec(line);
    if (open === undefined && fence !== null)
      open = { file, line: index + 2, language: fence[1]!, info: fence[2]!.trim(), text: '' };
    else if (open !== undefined && line === '```') {
      blocks.push(open);
      open = undefined;
    } else if (open !== undefined) open.text += `${line}\n`;
    else prose.push(line);
    if (prose.length <= index) prose.push('');
  }
  if (open !== undefined) throw new Error(`${file}:${open.line}: the block has no end`);
  const headings = [...prose.join('\n').matchAll(/^#{1,6} (.+)$/gm)].map((match) => slugOf(match[1]!));
  return {
    file,
    blocks,
    prose: prose.join('\n'),
    anchors: headings.map((slug, index) => numbered(headings, slug, index)),
  };
}

/** The code spans of a text. */
export function codeSpans(text: string): string[] {
  return [...text.matchAll(/`([^`\n]+)`/g)].map((match) => match[1]!);
}

/** The cells of the table below a header row that begins with these cells; a table ends at the first other line. */
export function tableRows(page: Page, ...header: string[]): string[][] {
  const lines = page.prose.split('\n');
  const start = lines.findIndex((line) => header.every((cell, index) => cellsOf(line)[index] === cell));
  if (start < 0) throw new Error(`${page.file} has no table ${header.join(' | ')}`);
  const end = lines.findIndex((line, index) => index > start && !line.startsWith('|'));
  return lines.slice(start + 2, end).map(cellsOf);
}

/** The text below a heading, up to the next one of any level. */
export function section(page: Page, heading: string): string {
  const lines = page.prose.split('\n');
  const start = lines.findIndex((line) => line.replace(/^#+ /, '') === heading && line.startsWith('#'));
  if (start < 0) throw new Error(`${page.file} has no heading ${heading}`);
  const end = lines.findIndex((line, index) => index > start && line.startsWith('#'));
  return lines.slice(start + 1, end < 0 ? undefined : end).join('\n');
}

/** The commands of an `sh` block, one a line; a backslash at the end joins two lines. */
export function commandsOf(block: Block): string[] {
  return block.text
    .replaceAll('\\\n', ' ')
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'));
}

function cellsOf(line: string): string[] {
  return line.startsWith('|')
    ? line
        .slice(1, -1)
        .split(' | ')
        .map((cell) => cell.replaceAll('|', '').trim())
    : [];
}

/** As GitHub makes it. */
function slugOf(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .replace(/ /g, '-');
}

function numbered(slugs: readonly string[], slug: string, index: number): string {
  const before = slugs.slice(0, index).filter((other) => other === slug).length;
  return before === 0 ? slug : `${slug}-${before}`;
}

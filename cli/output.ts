import picocolors from 'picocolors';
import type { Json } from '../schema/plan.ts';

/** Where a command writes: data on `data` (stdout), words for people about the work on `notes` (stderr). */
export interface Output {
  json: boolean;
  /** Somebody watches: live progress and questions make sense. */
  interactive: boolean;
  colors: ReturnType<typeof picocolors.createColors>;
  /** One line of data. */
  line(text: string): void;
  /** One line about the work. */
  note(text: string): void;
  /** The one JSON object. */
  object(value: unknown): void;
  /** Replaces the live line on a terminal; null removes it. Does nothing elsewhere. */
  live(text: string | null): void;
}

export interface OutputStreams {
  stdout: NodeJS.WriteStream;
  stderr: NodeJS.WriteStream;
  stdin: NodeJS.ReadStream;
}

export function createOutput(streams: OutputStreams, options: { json: boolean; noColor: boolean }): Output {
  const { stdout, stderr, stdin } = streams;
  const interactive = stdout.isTTY === true && stdin.isTTY === true && !options.json;
  let liveLine = false;
  const clearLive = (): void => {
    if (liveLine) stdout.write('\r\x1b[K');
    liveLine = false;
  };
  return {
    json: options.json,
    interactive,
    colors: picocolors.createColors(stdout.isTTY === true && !options.noColor),
    line(text) {
      clearLive();
      stdout.write(`${text}\n`);
    },
    note(text) {
      clearLive();
      stderr.write(`${text}\n`);
    },
    object(value) {
      stdout.write(`${JSON.stringify(value)}\n`);
    },
    live(text) {
      if (!interactive) return;
      clearLive();
      if (text === null) return;
      stdout.write(text.slice(0, Math.max(20, (stdout.columns ?? 80) - 1)));
      liveLine = true;
    },
  };
}

/** Columns as wide as their longest cell, two spaces apart; the last one is not padded. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const lines = [header, ...rows];
  const widths = header.map((_, column) => Math.max(...lines.map((line) => displayWidth(line[column] ?? ''))));
  return lines.map((line) =>
    line.map((cell, column) => (column === line.length - 1 ? cell : pad(cell, widths[column]!))).join('  '),
  );
}

/** Prints `{ items, next }` as JSON, or a table, and says how to go on when there is more. */
export function printList<Item>(
  output: Output,
  page: { items: Item[]; next: string | null },
  header: readonly string[],
  row: (item: Item) => readonly string[],
): void {
  if (output.json) {
    output.object(page);
    return;
  }
  if (page.items.length === 0) {
    output.note('nothing to show');
    return;
  }
  const [head, ...rest] = table(header, page.items.map(row));
  output.line(output.colors.bold(head!));
  for (const line of rest) output.line(line);
  if (page.next !== null) output.note(`more: --after ${page.next}`);
}

/** Text that came from outside, safe on a terminal: control characters are shown, not obeyed. */
export function printable(value: Json | undefined): string {
  if (value === null || value === undefined) return '-';
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is replaced
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}

function pad(text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - displayWidth(text)));
}

// East Asian wide characters take two cells; combining marks none. Colours take none.
function displayWidth(text: string): number {
  let width = 0;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: colour sequences begin with escape
  for (const character of text.replace(/\x1b\[[0-9;]*m/g, '')) {
    if (/\p{Mark}/u.test(character)) continue;
    width +=
      /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|[\u{1f300}-\u{1faff}]/u.test(
        character,
      )
        ? 2
        : 1;
  }
  return width;
}

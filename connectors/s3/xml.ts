import { XMLParser } from 'fast-xml-parser';
import { WaybillError } from '../../schema/errors.ts';

/** An element: its texts and elements by name. What a server repeats is always a list. */
export interface Element {
  [name: string]: unknown;
}

const repeated: ReadonlySet<string> = new Set(['Contents', 'CommonPrefixes', 'Part', 'Upload']);

const parser = new XMLParser({
  ignoreAttributes: true,
  parseTagValue: false,
  // A key may begin or end in spaces.
  trimValues: false,
  // The library knows no entities by number, and takes a page of quoted entity tags for an attack; `textOf` reads them.
  processEntities: false,
  isArray: (name) => repeated.has(name),
});

/** The root element of an answer, by its name or by another that servers give it. Throws protocol when the text is not that element. */
export function readXml(text: string, root: string, otherwise = root): Element {
  const document = tryXml(text);
  const found = document?.[root] ?? document?.[otherwise];
  // An element without content is an empty text.
  if (typeof found === 'string') return {};
  if (isElement(found)) return found;
  throw new WaybillError('protocol', `the server's answer is no ${root} document`, { operation: 'asking' });
}

/** Code and message of a document `Error`, which also comes with the status 200; undefined when the text is none. */
export function readError(text: string): { code: string; message: string; element: Element } | undefined {
  if (!text.includes('<Error')) return undefined;
  const element = tryXml(text)?.Error;
  if (!isElement(element)) return undefined;
  return { code: textOf(element, 'Code'), message: textOf(element, 'Message'), element };
}

/** The text of the element inside, or an empty text. */
export function textOf(element: Element, name: string): string {
  const value = element[name];
  return typeof value === 'string'
    ? value.replace(/&(?:(amp|lt|gt|quot|apos)|#(\d{1,7})|#x([\da-fA-F]{1,6}));/g, character)
    : '';
}

const named: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

function character(entity: string, name?: string, decimal?: string, hexadecimal?: string): string {
  if (name !== undefined) return named[name]!;
  const code = decimal === undefined ? Number.parseInt(hexadecimal!, 16) : Number(decimal);
  return code <= 0x10ffff ? String.fromCodePoint(code) : entity;
}

export function listOf(element: Element, name: string): Element[] {
  const value = element[name];
  return Array.isArray(value) ? value.filter(isElement) : [];
}

/** `<Part><ETag>x</ETag></Part>`, its texts escaped. */
export function writeXml(name: string, content: Readonly<Record<string, string>>): string {
  const inner = Object.entries(content).map(([each, text]) => `<${each}>${escapeXml(text)}</${each}>`);
  return `<${name}>${inner.join('')}</${name}>`;
}

function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}

function tryXml(text: string): Element | undefined {
  try {
    const document: unknown = parser.parse(text);
    return isElement(document) ? document : undefined;
  } catch {
    return undefined;
  }
}

function isElement(value: unknown): value is Element {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

import { readTime } from './times.ts';

const maxSiteCharacters = 253;
const maxNameCharacters = 255;

export interface TicketContent {
  /** Milliseconds of its time of creation. */
  at: number;
  site: string;
  /** Without the domain before the last `\`. Empty when the ticket names nobody. */
  userName: string;
}

/**
 * Reads the one form that a ticket has: `<token timestamp="..."><sitename>...</sitename><username>...</username></token>`,
 * white space between its parts. It is no XML parser, and so has nothing of what makes those dangerous: another element,
 * order or attribute, a second root, a comment, CDATA, a document type and an entity beyond the five are all refused alike.
 */
export function readTicketXml(text: string): TicketContent | undefined {
  const found = form.exec(text);
  if (found === null) return undefined;
  const [, doubleQuoted, singleQuoted, site, name] = found;
  const at = readTime(doubleQuoted ?? singleQuoted!);
  const siteName = readText(site!);
  const fullName = readText(name!);
  if (at === undefined || siteName === undefined || fullName === undefined) return undefined;
  const userName = fullName.slice(fullName.lastIndexOf('\\') + 1).trim();
  if (siteName === '' || siteName.length > maxSiteCharacters || fullName.length > maxNameCharacters) return undefined;
  return { at, site: siteName, userName };
}

/** Its form as we write it. `userName` may carry a domain. */
export function printTicketXml(ticket: { timestamp: string; site: string; userName: string }): string {
  const { timestamp, site, userName } = ticket;
  return `<token timestamp="${timestamp}"><sitename>${escaped(site)}</sitename><username>${escaped(userName)}</username></token>`;
}

// Each repetition ends at a character that the next part does not begin with: the time is linear.
const space = '[ \\t\\r\\n]*';
const form = new RegExp(
  [
    `^${space}(?:<\\?xml version=["']1\\.0["'](?: encoding=["'][Uu][Tt][Ff]-8["'])?(?: standalone=["'](?:yes|no)["'])?\\?>${space})?`,
    `<token[ \\t\\r\\n]+timestamp=(?:"([^"<&]*)"|'([^'<&]*)')${space}>${space}`,
    `<sitename>([^<]*)</sitename>${space}<username>([^<]*)</username>${space}</token>${space}$`,
  ].join(''),
);

const characters: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

/** Text of an element with the five entities replaced, trimmed; undefined when it holds another, or a control character. */
function readText(text: string): string | undefined {
  const unknown = text.replace(/&(?:amp|lt|gt|quot|apos);/g, '');
  if (unknown.includes('&')) return undefined;
  const read = text.replace(/&([a-z]+);/g, (_, name: string) => characters[name]!).trim();
  return /\p{C}/u.test(read) ? undefined : read;
}

function escaped(text: string): string {
  return text.replace(/[&<>]/g, (character) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;' })[character]!);
}

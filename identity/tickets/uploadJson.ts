import { readTokenTime } from './times.ts';

const maxEmailCharacters = 254;
const maxTextCharacters = 512;

/** What an upload token says, in whichever version. */
export interface UploadContent {
  folderId: string;
  email: string;
  /** The one address that the upload may come from. */
  ip: string;
  /** The `sessionId` that a sign-in gave. */
  session: string;
}

export type LegacyUpload = UploadContent & {
  /** Milliseconds of its time of creation. */
  at: number;
};

/**
 * Reads the document's form: a flat object of exactly the six keys, in any order, each once; `Version` is "1" or 1, and
 * `FolderID` may be a number too. Undefined for everything else.
 */
export function readUploadJson(text: string): LegacyUpload | undefined {
  const fields = readFlatObject(text);
  if (fields === undefined || [...fields.keys()].sort().join() !== keys) return undefined;
  const { Version, FolderID, Email, AllowedIP, TimeStamp, Session } = Object.fromEntries(fields);
  if (Version !== '1' && Version !== 1) return undefined;
  if (typeof TimeStamp !== 'string') return undefined;
  const at = readTokenTime(TimeStamp);
  const content = checkUpload({ folderId: String(FolderID), email: Email, ip: AllowedIP, session: Session });
  return at === undefined || content === undefined ? undefined : { ...content, at };
}

/** The content when each part has its form. */
export function checkUpload(content: Record<keyof UploadContent, unknown>): UploadContent | undefined {
  return findMisformed(content) === undefined ? (content as UploadContent) : undefined;
}

/** The first part that has not its form, if there is one: printable ASCII, so that no block that was tampered with passes for a name. */
export function findMisformed(content: Record<keyof UploadContent, unknown>): keyof UploadContent | undefined {
  return (Object.keys(forms) as (keyof UploadContent)[]).find((part) => {
    const value = content[part];
    return typeof value !== 'string' || !forms[part].test(value);
  });
}

const forms: Record<keyof UploadContent, RegExp> = {
  folderId: /^[A-Za-z0-9_-]{1,128}$/,
  email: new RegExp(`^(?=.{1,${maxEmailCharacters}}$)[A-Za-z0-9.!#$%&'*+/=?^_\`{|}~-]+@[A-Za-z0-9.-]+$`),
  ip: /^[0-9A-Fa-f:.]{2,45}$/,
  session: /^[A-Za-z0-9_-]{1,128}$/,
};

/** The document's form as we write it. */
export function printUploadJson({ folderId, email, ip, session }: UploadContent, timestamp: string): string {
  return JSON.stringify({
    Version: '1',
    FolderID: folderId,
    Email: email,
    AllowedIP: ip,
    TimeStamp: timestamp,
    Session: session,
  });
}

const keys = ['AllowedIP', 'Email', 'FolderID', 'Session', 'TimeStamp', 'Version'].join();

/** Texts and whole numbers by key. JSON.parse would take the last of two keys of one name; this takes neither. */
function readFlatObject(text: string): Map<string, string | number> | undefined {
  const body = /^\s*\{([^{}[\]]*)\}\s*$/.exec(text)?.[1];
  if (body === undefined) return undefined;
  const fields = new Map<string, string | number>();
  member.lastIndex = 0;
  for (let more = true; more; ) {
    const found = member.exec(body);
    if (found === null) return undefined;
    const [, key, quoted, number, end] = found;
    if (fields.has(key!)) return undefined;
    const value = quoted === undefined ? Number(number) : readString(quoted);
    if (value === undefined) return undefined;
    fields.set(key!, value);
    more = end === ',';
  }
  return member.lastIndex === body.length ? fields : undefined;
}

/** One member up to its comma, or to the end. */
const member = new RegExp(
  `\\s*"([A-Za-z]{1,32})"\\s*:\\s*(?:("(?:[^"\\\\]|\\\\.){0,${maxTextCharacters}}")|(\\d{1,15}))\\s*(,|$)`,
  'y',
);

function readString(quoted: string): string | undefined {
  try {
    return JSON.parse(quoted) as string;
  } catch {
    return undefined;
  }
}

/** A secret that was planted, or the marker that proves the search. */
export interface Needle {
  name: string;
  /** What would be found if it had leaked, in one of the forms in which bytes are written. */
  forms: readonly Buffer[];
}

/**
 * As it is, as JSON escapes it, in hex, and in base64 and base64url at each of the three places it may begin; each of them
 * as a label of a metric too, where what is neither letter nor digit becomes an underscore.
 */
export function needleOf(name: string, secret: string | Buffer): Needle {
  const bytes = Buffer.from(secret as string);
  const texts = [bytes.toString('hex'), bytes.toString('hex').toUpperCase()];
  for (const skipped of [0, 1, 2]) {
    const base64 = Buffer.concat([Buffer.alloc(skipped), bytes]).toString('base64');
    // The first and the last characters hold bits of what stands beside it.
    const sure = base64.replace(/=+$/, '').slice(skipped === 0 ? 0 : skipped + 1, -2);
    texts.push(sure, sure.replaceAll('+', '-').replaceAll('/', '_'));
  }
  if (typeof secret === 'string') texts.push(secret, JSON.stringify(secret).slice(1, -1));
  const labels = texts.map((text) => text.replaceAll(/\W/g, '_'));
  return { name, forms: [bytes, ...new Set([...texts, ...labels])].map((form) => Buffer.from(form)) };
}

/** `place: needle` for each needle that stands in a place. */
export function findNeedles(needles: readonly Needle[], places: ReadonlyMap<string, Buffer>): string[] {
  const found: string[] = [];
  for (const [place, bytes] of places)
    for (const { name, forms } of needles)
      if (forms.some((form) => bytes.includes(form))) found.push(`${place}: ${name}`);
  return found;
}

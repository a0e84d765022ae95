import { readdirSync, readFileSync } from 'node:fs';

/** The files in `good/` have no mistakes; beside each file in `bad/` stands what is to be said about it, a line a mistake. */
export interface CorpusFile {
  file: string;
  text: string;
}

const folder = new URL('.', import.meta.url);

export function corpus(kind: 'good' | 'bad'): CorpusFile[] {
  const names = readdirSync(new URL(`${kind}/`, folder)).filter((name) => name.endsWith('.yaml'));
  return names.sort().map((file) => ({ file, text: readFileSync(new URL(`${kind}/${file}`, folder), 'utf8') }));
}

export function expectedDiagnostics(file: string): string {
  return readFileSync(new URL(`bad/${file.replace(/\.yaml$/, '.expected')}`, folder), 'utf8');
}

import type { Report } from './report.ts';
import type { Located } from './source.ts';

/** Reports every secret that stands in the file itself, without repeating it, and gives their names. */
export function reportInlineSecrets(secrets: Located | undefined, report: Report): string[] {
  const inline: string[] = [];
  for (const [name, { value }] of secrets?.entries ?? []) {
    if (value.entries || value.value === null) continue;
    inline.push(name);
    report.add(
      'INLINE_SECRET',
      value.range,
      `the secret "${name.slice(0, 100)}" stands in the file`,
      'refer to it: { file: ./path }, { env: NAME } or { secret: name }; and replace it, since it has been seen',
    );
  }
  return inline;
}

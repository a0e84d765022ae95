import { expect, test } from 'vitest';
import { check } from './check.ts';

/** Each writes the same wrong expression, `inputs.nope`, after characters that the style writes longer than they are. */
const styles = {
  'double quotes with escapes': 'text: "say \\"hi\\"\\t\\u00e9 ${{ inputs.nope }}"',
  'single quotes with doubled quotes': "text: 'it''s ''so'' ${{ inputs.nope }}'",
  'a literal block': 'text: |\n            first line\n            second ${{ inputs.nope }}',
  'a folded block': 'text: >-\n            first line\n            folded ${{ inputs.nope }}',
  'double quotes over two lines': 'text: "first\n            second ${{ inputs.nope }}"',
};

for (const [style, value] of Object.entries(styles)) {
  test(`a mistake inside ${style} is marked where it stands`, () => {
    const text = `pipeline: sample-pipeline
apiVersion: waybill/v1
inputs: { folder: { type: string } }
steps:
  - use: audit.write@1
    with:
      event: orders.seen
      data:
          ${value}
`;
    const { diagnostics } = check([{ file: 'sample.yaml', text }], { connectors: [] });
    const lines = text.split('\n');
    const line = lines.findIndex((candidate) => candidate.includes('inputs.nope'));
    const column = lines[line]!.indexOf('nope');
    expect(
      diagnostics.map(({ code, line, column, endLine, endColumn }) => ({ code, line, column, endLine, endColumn })),
    ).toEqual([
      {
        code: 'UNKNOWN_REFERENCE',
        line: line + 1,
        column: column + 1,
        endLine: line + 1,
        endColumn: column + 1 + 'nope'.length,
      },
    ]);
  });
}

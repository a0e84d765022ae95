import { Ajv } from 'ajv';
import { describe, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { createRegistry } from '../connectors/registry.ts';
import { buildSchemaFile, printSchemaFile } from './schemaFile.ts';

const connectors = createRegistry().definitions;
const validate = new Ajv({ strict: false, allErrors: true }).compile(buildSchemaFile(connectors));
const header = 'pipeline: acme-orders\napiVersion: waybill/v1\n';

describe('the schema for editors', () => {
  test('is draft-07: it uses no keyword of a later draft', () => {
    const keywords = new Set<string>();
    const collect = (value: unknown): void => {
      if (value === null || typeof value !== 'object') return;
      for (const [key, inner] of Object.entries(value)) {
        keywords.add(key);
        collect(inner);
      }
    };
    collect(buildSchemaFile(connectors));
    for (const later of [
      '$defs',
      'unevaluatedProperties',
      'dependentRequired',
      'dependentSchemas',
      'prefixItems',
      '$anchor',
      '$dynamicRef',
      'minContains',
    ]) {
      expect(keywords).not.toContain(later);
    }
    expect([...keywords].filter((keyword) => keyword.startsWith('x-'))).toEqual([]);
  });

  test('is the same text every time', () => {
    expect(printSchemaFile(connectors)).toBe(printSchemaFile(connectors));
  });

  test.each([
    `${header}steps: [ { use: audit.write@1, with: { event: a.b } } ]`,
    `${header}steps: [ { id: a, use: transfer.copy@1, with: { from: "p:/a", to: "l:/b", verify: "\${{ inputs.v }}", then: { delete: "\${{ inputs.d }}" } } } ]`,
    `${header}steps: [ { forEach: "[1]", steps: [ { if: "true", steps: [ { use: files.delete@1, with: { at: "p:/a" } } ] } ] } ]`,
    'endpoint: landing-zone\napiVersion: waybill/v1\nconnector: local\nconfig: { root: /srv/in }',
    'webhook: orders\napiVersion: waybill/v1\nurl: https://x.example/\nevents: ["orders.*"]\nsecrets: { signing: { file: ./whsec } }',
  ])('accepts %s', (text) => {
    expect([validate(read(text)), validate.errors]).toEqual([true, null]);
  });

  test.each([
    `${header}lables: {}\nsteps: [ { use: audit.write@1, with: { event: a.b } } ]`,
    `${header}steps: [ { use: audit.wrte@1, with: { event: a.b } } ]`,
    `${header}steps: [ { use: audit.write@1 } ]`,
    `${header}steps: [ { id: a, use: transfer.copy@1, with: { from: "p:/a", to: "l:/b", verify: hsh } } ]`,
    `${header}steps: [ { forEach: "[1]", steps: [ { use: files.delete@1, with: { att: x } } ] } ]`,
    'endpoint: landing-zone\napiVersion: waybill/v1\nconnector: local\nconfig: { rot: /srv/in }',
    'endpoint: landing-zone\napiVersion: waybill/v1\nconnector: sftp\nsecrets: { passwrd: { file: x } }',
    'webhook: orders\napiVersion: waybill/v1\nurl: https://x.example/\nevents: []',
    `${header}steps: [ { use: audit.write@1, wth: {}, with: { event: a.b } } ]`,
    'endpoint: landing-zone\napiVersion: waybill/v1\nconnector: local\nlimit: {}',
    'something: else',
  ])('refuses %s', (text) => {
    expect(validate(read(text))).toBe(false);
  });
});

function read(text: string): unknown {
  const [document] = parseAllDocuments(text);
  return (document as { toJS(): unknown }).toJS();
}

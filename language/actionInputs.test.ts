import { expect, test } from 'vitest';
import { check } from './check.ts';

/** The mistakes of one step, as `CODE message`. */
function mistakes(step: string): string[] {
  const text = `pipeline: orders\napiVersion: waybill/v1\nendpoints: { partner: acme-sftp, shop: shop-api }\nsteps:\n  - ${step}\n`;
  const { diagnostics } = check([{ file: 'orders.yaml', text }], { connectors: [] });
  return diagnostics.filter(({ code }) => code !== 'UNUSED_ALIAS').map(({ code, message }) => `${code} ${message}`);
}

test('an alias that stands alone is one of the endpoints, written out', () => {
  const request = (alias: string) => mistakes(`{ use: http.request@1, with: { endpoint: ${alias}, path: / } }`);
  expect(request('shop')).toEqual([]);
  expect(request('shap')).toEqual(['UNKNOWN_ENDPOINT_ALIAS there is no endpoint alias "shap" under `endpoints:`']);
  expect(request('"${{ run.id }}"')).toEqual(['EXPRESSION_NOT_ALLOWED the alias of an endpoint must be written out']);
});

test('a place may be a folder, and is no glob', () => {
  const look = (place: string) => mistakes(`{ use: files.stat@1, with: { at: "${place}" } }`);
  expect(look('partner:/out/')).toEqual([]);
  expect(look('partner:/out/a.csv')).toEqual([]);
  expect(look('partner:/out/*.csv')).toEqual(['GLOB_NOT_ALLOWED this takes one path, not a glob']);
});

test('of two keys of which one is needed exactly one is given', () => {
  const write = (content: string) => mistakes(`{ use: files.write@1, with: { to: "partner:/a"${content} } }`);
  expect(write(', text: x')).toEqual([]);
  expect(write(', json: null')).toEqual([]);
  expect(write('')).toEqual(['MISSING_KEY one of `text`, `json` is missing']);
  expect(write(', text: x, json: 1')).toEqual(['INVALID_VALUE give `text` or `json`, not both']);
});

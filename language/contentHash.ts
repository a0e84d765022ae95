import { createHash } from 'node:crypto';
import type { Json } from '../schema/plan.ts';

/** SHA-256, in hexadecimal, of a value as canonical JSON: equal values have equal hashes whatever the order of their keys. */
export function contentHash(value: Json): string {
  return createHash('sha256').update(canonicalJson(value)).digest('hex');
}

/** RFC 8785 for values that came out of JSON or YAML: keys sorted by UTF-16 units, no blanks, shortest numbers. */
export function canonicalJson(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  const members = Object.keys(value)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${canonicalJson(value[key]!)}`);
  return `{${members.join(',')}}`;
}

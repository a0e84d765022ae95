import type { TSchema } from 'typebox';
import { errorKinds } from '../schema/errors.ts';
import { identifierPattern, resourceNamePattern } from '../schema/names.ts';
import { durationPattern, sizePattern } from '../schema/quantities.ts';

/** The parts of a schema that have words. */
interface WordedSchema {
  type?: string;
  const?: unknown;
  pattern?: string;
  anyOf?: TSchema[];
  items?: TSchema;
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  minItems?: number;
  maxItems?: number;
  maxProperties?: number;
  'x-expression'?: unknown;
  'x-location'?: string;
  'x-endpoint'?: boolean;
  'x-path'?: string;
  'x-file-set'?: boolean;
  'x-steps'?: boolean;
}

/** What a value of that schema is, in a few words for people: "whole number, 1 to 500". */
export function schemaWords(schema: TSchema): string {
  const shape = schema as WordedSchema;
  if (shape['x-steps']) return 'list of steps';
  if (shape['x-file-set']) return 'file set';
  if (shape['x-location']) return listed(locationWords[shape['x-location']] ?? 'location', shape);
  if (shape['x-endpoint']) return 'alias of an endpoint';
  if (shape['x-expression']) return 'CEL';
  if (shape.anyOf?.length === Object.keys(errorKinds).length) return 'kind of failure';
  if (shape.const !== undefined) return JSON.stringify(shape.const).replace(/^"(.*)"$/, '`$1`');
  if (shape.anyOf) return alternatives([...new Set(shape.anyOf.map(schemaWords))]);
  if (shape.type === 'string') return textWords(shape);
  if (shape.type === 'integer' || shape.type === 'number') return numberWords(shape);
  if (shape.type === 'boolean') return 'true or false';
  if (shape.type === 'null') return 'null';
  if (shape.type === 'array') return `list of ${itemsWords(shape.items)}${atMost(shape.maxItems)}`;
  if (shape.type === 'object') return `mapping${atMost(shape.maxProperties)}`;
  return 'any value';
}

const locationWords: Readonly<Record<string, string>> = {
  file: 'location of one file',
  files: 'location of one file or of a glob',
  folder: 'location of a folder',
  target: 'location of a file, or of a folder (ends in /)',
};

/** What may also be a list of the same. */
function listed(words: string, { anyOf = [] }: WordedSchema): string {
  const list = anyOf.find((branch) => (branch as WordedSchema).type === 'array') as WordedSchema | undefined;
  return list === undefined ? words : `${words}; or a list of them${atMost(list.maxItems)}`;
}

const patternWords: ReadonlyMap<string, string> = new Map([
  [durationPattern, 'duration'],
  [sizePattern, 'size'],
  [resourceNamePattern, 'name'],
  [identifierPattern, 'identifier'],
  ['^(100|[0-9]{1,2})%$', 'percentage'],
]);

function textWords({ pattern, maxLength, 'x-path': path }: WordedSchema): string {
  if (path !== undefined) return path === 'glob' ? 'glob' : 'path';
  const named =
    pattern === undefined ? undefined : (patternWords.get(pattern) ?? (/%/.test(pattern) ? 'percentage' : undefined));
  return named ?? `text${maxLength === undefined ? '' : `, at most ${grouped(maxLength)} characters`}`;
}

function numberWords({ type, minimum, maximum }: WordedSchema): string {
  const noun = type === 'integer' ? 'whole number' : 'number';
  if (minimum !== undefined && maximum !== undefined) return `${noun}, ${grouped(minimum)} to ${grouped(maximum)}`;
  if (minimum !== undefined) return `${noun}, ${grouped(minimum)} or more`;
  return maximum === undefined ? noun : `${noun}, ${grouped(maximum)} or less`;
}

/** In the plural, without the limits of a single one. */
function itemsWords(items: TSchema | undefined): string {
  const words = items === undefined ? 'any value' : schemaWords(items);
  if (words.startsWith('`')) return words;
  if (words === 'kind of failure') return 'kinds of failure';
  return `${words.split(',')[0]}s`;
}

function atMost(count: number | undefined): string {
  return count === undefined ? '' : `, at most ${grouped(count)}`;
}

function alternatives(words: readonly string[]): string {
  return words.length <= 1 ? words.join('') : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`;
}

function grouped(number: number): string {
  return String(number).replace(/\B(?=(\d{3})+$)/g, ',');
}

import { type TSchema, Type } from 'typebox';
import type { ActionManifest } from '../schema/actions.ts';
import { EndpointDocument, WebhookDocument } from '../schema/configuration.ts';
import { pipelineSchemas } from '../schema/pipeline.ts';
import { schemaWords } from './schemaWords.ts';

/** A key or field as the reference shows it. */
export interface KeyReference {
  /** `retry.notOn`; `<name>` and `[]` stand for names and items of your own. */
  name: string;
  /** Where it can stand: `pipeline`, `action`, `forEach` ...; empty for the fields of an action. */
  places: string[];
  type: string;
  required: boolean;
  /** As YAML, or null: none, or it is told in the description. */
  default: string | null;
  description: string;
}

/** Every key of every document and step, in the order of the schemas. Keys that mean the same in several places stand once. */
export function keyReference(): KeyReference[] {
  const blocks = (description: string) => Type.Array(Type.Unknown(), { description, 'x-steps': true });
  const schemas = { ...pipelineSchemas(blocks), endpoint: EndpointDocument, webhook: WebhookDocument };
  const { pipeline, endpoint, webhook, ...steps } = schemas;
  const keys: KeyReference[] = [];
  for (const [place, schema] of Object.entries({ pipeline, ...steps, endpoint, webhook }))
    for (const key of fieldReference(schema)) addKey(keys, key, place);
  return keys;
}

/** The fields of an object's schema, nested ones after their owner. */
export function fieldReference(schema: TSchema, prefix = ''): KeyReference[] {
  const { properties = {}, required = [] } = schema as ObjectSchema;
  return Object.entries(properties).flatMap(([name, field]) =>
    withInnerFields(`${prefix}${name}`, field, required.includes(name)),
  );
}

/** What a step of the action gives, as `steps.<id>.<field>`. */
export function outputReference(action: ActionManifest): KeyReference[] {
  return fieldReference(action.output);
}

interface ObjectSchema {
  type?: string;
  properties?: Record<string, TSchema>;
  patternProperties?: Record<string, TSchema>;
  required?: string[];
  anyOf?: TSchema[];
  items?: TSchema;
  description?: string;
  default?: unknown;
  'x-location'?: string;
  'x-file-set'?: boolean;
  'x-steps'?: boolean;
}

function withInnerFields(name: string, schema: TSchema, required: boolean): KeyReference[] {
  const { description = '', default: fallback } = schema as ObjectSchema;
  const own: KeyReference = {
    name,
    places: [],
    type: schemaWords(schema),
    required,
    default: fallback === undefined ? null : JSON.stringify(fallback).replace(/^"([A-Za-z][\w-]*)"$/, '$1'),
    description,
  };
  return [own, ...innerFields(name, schema)];
}

function innerFields(name: string, schema: TSchema): KeyReference[] {
  const shape = schema as ObjectSchema;
  if (shape['x-file-set'] || shape['x-steps']) return [];
  if (shape['x-location']) return locationFields(name, shape);
  if (shape.anyOf) return innerFieldsOfUnion(name, shape.anyOf);
  const [named] = Object.values(shape.patternProperties ?? {});
  if (named) return innerFields(`${name}.<name>`, named);
  if (shape.items) return innerFields(`${name}[]`, shape.items);
  return fieldReference(schema, `${name}.`);
}

/** The place itself is explained by its type: what is left is what a mapping says besides. */
function locationFields(name: string, { anyOf = [] }: ObjectSchema): KeyReference[] {
  const list = anyOf.map((branch) => (branch as ObjectSchema).items).find((items) => items !== undefined);
  const forms = (list as ObjectSchema | undefined)?.anyOf ?? [];
  return forms
    .flatMap((form) => innerFields(`${name}[]`, form))
    .filter((field) => !/\[\]\.(endpoint|path|glob)$/.test(field.name));
}

/** Of several mappings only one is written: none of their keys is required for itself. */
function innerFieldsOfUnion(name: string, branches: readonly TSchema[]): KeyReference[] {
  const keys = branches.map((branch) => innerFields(name, branch)).filter((fields) => fields.length > 0);
  const all = keys.length > 1 ? keys.flat().map((key) => ({ ...key, required: false })) : keys.flat();
  return all.filter((key, index) => all.findIndex((other) => other.name === key.name) === index);
}

function addKey(keys: KeyReference[], key: KeyReference, place: string): void {
  const same = keys.find(
    ({ name, type, description, required }) =>
      name === key.name && type === key.type && description === key.description && required === key.required,
  );
  if (same) same.places.push(place);
  else keys.push({ ...key, places: [place] });
}

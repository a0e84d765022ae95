import type { TSchema } from 'typebox';
import { durationPattern, sizePattern } from '../schema/quantities.ts';
import { schemaWords } from './schemaWords.ts';

export type JsonSchema = { [keyword: string]: unknown };

/**
 * A schema of ours as editors read it, draft-07: without the marks (`x-...`) that only the checker reads, with choices as
 * `enum`, and with what a hover shows: the description, the type in words, the default.
 */
export function editorSchema(schema: TSchema): JsonSchema {
  return converted(schema as JsonSchema);
}

function converted(schema: JsonSchema): JsonSchema {
  const own: JsonSchema = {};
  for (const [keyword, value] of Object.entries(schema)) {
    if (keyword.startsWith('x-')) continue;
    own[keyword] = convertedKeyword(keyword, value);
  }
  if (Array.isArray(schema.anyOf)) {
    delete own.anyOf;
    Object.assign(own, unionSchema(schema.anyOf as JsonSchema[]));
  }
  if (schema.pattern === durationPattern) own.examples = ['30s', '5m', '2h', '7d'];
  if (typeof schema.description === 'string') own.markdownDescription = hoverText(schema, schema.description);
  return own;
}

function convertedKeyword(keyword: string, value: unknown): unknown {
  if (keyword === 'properties' || keyword === 'patternProperties')
    return Object.fromEntries(
      Object.entries(value as Record<string, JsonSchema>).map(([name, property]) => [name, converted(property)]),
    );
  if (keyword === 'items' || keyword === 'additionalProperties')
    return typeof value === 'object' && value !== null ? converted(value as JsonSchema) : value;
  return value;
}

/** Choices as an enumeration; where a mapping is one of the forms, what is no mapping is told of the others only, and the reverse. */
function unionSchema(branches: readonly JsonSchema[]): JsonSchema {
  if (branches.every((branch) => branch.const !== undefined)) return { enum: branches.map((branch) => branch.const) };
  const mappings = branches.filter((branch) => branch.type === 'object').map(converted);
  const others = branches.filter((branch) => branch.type !== 'object').map(converted);
  if (mappings.length === 0 || others.length === 0) return { anyOf: branches.map(converted) };
  const oneOf = (forms: readonly JsonSchema[]) => (forms.length === 1 ? forms[0]! : { anyOf: forms });
  return { if: { type: 'object' }, then: oneOf(mappings), else: oneOf(others) };
}

function hoverText(schema: JsonSchema, description: string): string {
  const fallback =
    schema.default === undefined ? '' : `; default \`${JSON.stringify(schema.default).replace(/^"(.*)"$/, '$1')}\``;
  return `${description}\n\n*${schemaWords(schema as TSchema)}*${fallback}`;
}

const expressionText = { type: 'string', pattern: '\\$\\{\\{' };

/** Lets an expression stand for every value that is more than a plain text. */
export function withExpressions(schema: JsonSchema): JsonSchema {
  if (schema.type === 'object' && schema.properties) {
    const properties = Object.fromEntries(
      Object.entries(schema.properties as Record<string, JsonSchema>).map(([name, property]) => [
        name,
        valueSchema(property),
      ]),
    );
    return { ...schema, properties };
  }
  if (Array.isArray(schema.anyOf)) return { ...schema, anyOf: (schema.anyOf as JsonSchema[]).map(withExpressions) };
  if (schema.type === 'array' && schema.items) return { ...schema, items: withExpressions(schema.items as JsonSchema) };
  if (schema.if)
    return {
      ...schema,
      then: withExpressions(schema.then as JsonSchema),
      else: withExpressions(schema.else as JsonSchema),
    };
  return schema;
}

function valueSchema(schema: JsonSchema): JsonSchema {
  const inner = withExpressions(schema);
  const isPlainText = inner.type === 'string' && !inner.pattern && !inner.const;
  const isQuantity = inner.pattern === durationPattern || inner.pattern === sizePattern;
  // A form that is a text already takes an expression, but for one that an expression does not look like.
  if (isPlainText || (inner.pattern && !isQuantity) || inner.if) return inner;
  const { description, markdownDescription, default: fallback, ...rest } = inner;
  return {
    ...(description ? { description, markdownDescription } : {}),
    ...(fallback === undefined ? {} : { default: fallback }),
    anyOf: [rest, expressionText],
  };
}

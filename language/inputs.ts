import type { InputDeclaration, Json, Plan } from '../schema/plan.ts';
import { formatBytes } from '../schema/quantities.ts';
import { nearest } from './nearest.ts';

export interface InputProblem {
  field: string;
  message: string;
}

/** One run's inputs go into workflow history and into every expression: they are kept small. `totalBytes` is of JSON. */
export const inputLimits = { textCharacters: 16_384, elements: 1_000, totalBytes: 65_536, depth: 16 } as const;

const maxUnknownTold = 20;

/**
 * The inputs of a run: given values checked against the declarations, defaults filled in. A text is read as the
 * declared type where it is exactly one (`30`, `true`, `["a"]`): the command line has only texts. Pure, never throws.
 */
export function resolveInputs(
  declared: Plan['inputs'],
  given: Record<string, unknown>,
): { ok: true; inputs: Record<string, Json> } | { ok: false; problems: InputProblem[] } {
  const problems: InputProblem[] = [];
  const inputs: Record<string, Json> = {};
  const unknown = Object.keys(given).filter((name) => !Object.hasOwn(declared, name));
  for (const name of unknown.slice(0, maxUnknownTold)) {
    const meant = nearest(name, Object.keys(declared));
    problems.push({
      field: clip(name),
      message: `there is no input ${JSON.stringify(clip(name))}${meant ? `; did you mean ${meant}?` : ''}`,
    });
  }
  if (unknown.length > maxUnknownTold)
    problems.push({ field: '', message: `${unknown.length - maxUnknownTold} more inputs are not declared` });
  for (const [name, declaration] of Object.entries(declared)) {
    const value = Object.hasOwn(given, name) ? given[name] : undefined;
    if (value === undefined || value === null) {
      if (declaration.default !== undefined) inputs[name] = declaration.default;
      else if (declaration.required)
        problems.push({ field: name, message: `the input ${name} (${typeName(declaration.type)}) is required` });
      continue;
    }
    const read = readInput(value, declaration.type);
    if (read.ok) inputs[name] = read.value;
    else problems.push({ field: name, message: `the input ${name} ${read.message}` });
  }
  const bytes = problems.length === 0 ? new TextEncoder().encode(JSON.stringify(inputs)).length : 0;
  if (bytes > inputLimits.totalBytes)
    problems.push({
      field: '',
      message: `the inputs have ${formatBytes(bytes)} as JSON; a run takes ${formatBytes(inputLimits.totalBytes)} at most: put what is larger into a file`,
    });
  return problems.length > 0 ? { ok: false, problems } : { ok: true, inputs };
}

/** Why a value is not of the declared type, or null when it is. For defaults, which are not read from text. */
export function inputMistake(value: Json, type: InputDeclaration['type']): string | null {
  const mistake = typeMistake(value, type);
  return mistake ?? sizeMistake(value);
}

function readInput(
  value: unknown,
  type: InputDeclaration['type'],
): { ok: true; value: Json } | { ok: false; message: string } {
  const read = typeof value === 'string' && type !== 'string' ? readText(value, type) : value;
  const mistake = typeMistake(read, type) ?? sizeMistake(read);
  return mistake === null ? { ok: true, value: read as Json } : { ok: false, message: mistake };
}

function readText(text: string, type: InputDeclaration['type']): unknown {
  if (type === 'boolean') return text === 'true' ? true : text === 'false' ? false : text;
  if (type === 'integer' || type === 'number') return /^-?\d+(\.\d+)?([eE][+-]?\d+)?$/.test(text) ? Number(text) : text;
  if (text.length > inputLimits.totalBytes) return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function typeMistake(value: unknown, type: InputDeclaration['type']): string | null {
  const fits: Record<InputDeclaration['type'], boolean> = {
    string: typeof value === 'string',
    integer: Number.isSafeInteger(value),
    number: typeof value === 'number' && Number.isFinite(value),
    boolean: typeof value === 'boolean',
    list: Array.isArray(value),
    map: typeof value === 'object' && value !== null && !Array.isArray(value),
  };
  return fits[type] ? null : `must be ${typeName(type)}, not ${valueName(value)}`;
}

function sizeMistake(value: unknown, depth = 0): string | null {
  if (depth > inputLimits.depth) return `is nested more than ${inputLimits.depth} deep`;
  if (typeof value === 'string')
    return value.length > inputLimits.textCharacters
      ? `holds a text of ${value.length} characters; ${inputLimits.textCharacters} is the most`
      : null;
  if (typeof value === 'number' && !Number.isFinite(value)) return 'holds a number that JSON cannot carry';
  if (typeof value === 'bigint' || typeof value === 'function' || typeof value === 'symbol' || value === undefined)
    return 'holds a value that JSON cannot carry';
  if (typeof value !== 'object' || value === null) return null;
  const items = Object.values(value);
  if (items.length > inputLimits.elements)
    return `holds ${items.length} elements in one list or mapping; ${inputLimits.elements} is the most`;
  for (const item of items) {
    const mistake = sizeMistake(item, depth + 1);
    if (mistake !== null) return mistake;
  }
  return null;
}

function clip(name: string): string {
  return name.length > 100 ? `${name.slice(0, 100)}...` : name;
}

function typeName(type: InputDeclaration['type']): string {
  return {
    string: 'a text',
    integer: 'a whole number',
    number: 'a number',
    boolean: 'true or false',
    list: 'a list',
    map: 'a mapping',
  }[type];
}

function valueName(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  const names: Record<string, string> = {
    string: 'a text',
    number: 'a number',
    boolean: 'true or false',
    object: 'a mapping',
  };
  return names[typeof value] ?? `a ${typeof value}`;
}

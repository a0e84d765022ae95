import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv';
import type { TSchema } from 'typebox';
import { accountPattern } from '../schema/names.ts';
import { durationPattern, sizePattern } from '../schema/quantities.ts';
import type { DiagnosticCode } from './codes.ts';
import { didYouMean } from './expressions.ts';
import type { Report, SourceRange } from './report.ts';
import type { Located } from './source.ts';

export interface SchemaCheckOptions {
  /** JSON pointers of values that hold an expression: their form is known only when it runs. */
  expressions?: ReadonlySet<string>;
  /** Keys that get a message of their own: they are designed, not built. */
  unavailable?: readonly string[];
  /** Code for an unknown key, and more words for one. */
  explainUnknownKey?: (key: string, pointer: string) => { code: DiagnosticCode; message: string } | undefined;
}

/** Checks a value against a schema and reports every mistake in plain words at its place. Gives whether there was none. */
export function checkSchema(
  located: Located,
  schema: TSchema,
  report: Report,
  options: SchemaCheckOptions = {},
): boolean {
  const validate = compile(schema);
  if (validate(located.value)) return true;
  const errors = withoutLosingBranches(validate.errors ?? [], options.expressions ?? new Set());
  for (const error of errors) {
    const { code, range, message, suggestion } = describe(error, located, options);
    report.add(code, range, message, suggestion);
  }
  return errors.length === 0;
}

/** The value at a JSON pointer below a located value, and the range of its key where it has one. */
export function locate(root: Located, pointer: string): { value: Located; key: SourceRange | null } {
  let value = root;
  let key: SourceRange | null = null;
  for (const part of pointer.split('/').slice(1)) {
    const name = part.replaceAll('~1', '/').replaceAll('~0', '~');
    const entry = value.entries?.get(name);
    const next = entry?.value ?? value.items?.[Number(name)];
    if (!next) break;
    key = entry?.key ?? null;
    value = next;
  }
  return { value, key };
}

export function pointerTo(parent: string, name: string | number): string {
  return `${parent}/${String(name).replaceAll('~', '~0').replaceAll('/', '~1')}`;
}

const ajv = new Ajv({ allErrors: true, verbose: true, strict: false, logger: false });
const compiled = new WeakMap<TSchema, ValidateFunction>();

function compile(schema: TSchema): ValidateFunction {
  const known = compiled.get(schema);
  if (known) return known;
  const validate = ajv.compile(schema);
  compiled.set(schema, validate);
  return validate;
}

/**
 * Of the errors of a union only those of the branch that was meant stay: the one with the fewest, unknown keys counting
 * double. Errors about a value that is an expression are left out: its type is checked apart.
 */
function withoutLosingBranches(all: readonly ErrorObject[], expressions: ReadonlySet<string>): ErrorObject[] {
  let errors = all.filter((error) => !expressions.has(error.instancePath));
  const unions = all
    .filter((error) => error.keyword === 'anyOf')
    .sort((left, right) => right.schemaPath.length - left.schemaPath.length);
  for (const union of unions) {
    if (expressions.has(union.instancePath)) continue;
    const branches = union.schema as readonly TSchema[];
    const belongs = (error: ErrorObject, index: number) =>
      error.schemaPath.startsWith(`${union.schemaPath}/${index}/`) && error.instancePath.startsWith(union.instancePath);
    const ofBranch = branches.map((_, index) => errors.filter((error) => belongs(error, index)));
    errors = errors.filter((error) => error !== union && !branches.some((_, index) => belongs(error, index)));
    if (ofBranch.some((branch) => branch.length === 0)) continue;
    const isObject = typeof union.data === 'object' && union.data !== null && !Array.isArray(union.data);
    const candidates = branches
      .map((branch, index) => ({ branch, errors: ofBranch[index]! }))
      .filter(({ branch }) => isObject && (branch as { type?: string }).type === 'object');
    const cost = (list: readonly ErrorObject[]) =>
      list.reduce((sum, error) => sum + (error.keyword === 'additionalProperties' ? 2 : 1), 0);
    candidates.sort((left, right) => cost(left.errors) - cost(right.errors));
    const meant = candidates.find(({ branch }) => resembles(union.data as object, branch));
    if (meant) errors.push(...meant.errors);
    else if (candidates.length > 0) errors.push(union);
    else {
      const ofType = ofBranch.find(
        (branch) => branch.length > 0 && !branch.some((error) => isOfType(error) && isAt(union, error)),
      );
      if (ofType) errors.push(...ofType);
      else errors.push(union);
    }
  }
  return errors;
}

const isOfType = ({ keyword }: ErrorObject) => keyword === 'type' || keyword === 'const';
const isAt = (one: ErrorObject, other: ErrorObject) => one.instancePath === other.instancePath;

/** Whether a mapping has a key of that shape, or one that is spelt nearly so. */
function resembles(data: object, branch: TSchema): boolean {
  const known = Object.keys((branch as { properties?: object }).properties ?? {});
  return Object.keys(data).some((key) => known.includes(key) || didYouMean(key, known) !== undefined);
}

interface Finding {
  code: DiagnosticCode;
  range: SourceRange;
  message: string;
  suggestion?: string | undefined;
}

function describe(error: ErrorObject, root: Located, options: SchemaCheckOptions): Finding {
  const { value, key } = locate(root, error.instancePath);
  const params = error.params as Record<string, unknown>;
  const name = label(error.instancePath);
  if (error.keyword === 'additionalProperties') return describeUnknownKey(error, value, options);
  if (error.keyword === 'required') {
    const missing = String(params.missingProperty);
    const range = error.instancePath === '' ? firstKey(value) : (key ?? value.range);
    const message = `the key "${missing}" is missing${name === '' ? '' : ` under ${name}`}`;
    if (missing !== 'apiVersion') return { code: 'MISSING_KEY', range, message };
    return { code: 'UNKNOWN_VERSION', range, message, suggestion: 'add `apiVersion: waybill/v1`' };
  }
  const code = name === 'apiVersion' ? 'UNKNOWN_VERSION' : isNameError(error) ? 'INVALID_NAME' : 'INVALID_VALUE';
  const { message, suggestion } = words(error, params);
  return { code, range: value.range, message: `${name === '' ? 'the document' : name} ${message}`, suggestion };
}

/** More are no help in a message. */
const maxKeysListed = 12;

function describeUnknownKey(error: ErrorObject, value: Located, options: SchemaCheckOptions): Finding {
  const unknown = String((error.params as { additionalProperty: string }).additionalProperty);
  const range = value.entries?.get(unknown)?.key ?? value.range;
  const special = options.explainUnknownKey?.(unknown, error.instancePath);
  if (special) return { ...special, range };
  if (error.instancePath === '' && options.unavailable?.includes(unknown)) {
    return { code: 'NOT_AVAILABLE', range, message: `"${unknown}" is not available in this version of Waybill` };
  }
  const parent = error.parentSchema as { properties?: object; patternProperties?: object } | undefined;
  if (parent?.patternProperties) {
    const pattern = Object.keys(parent.patternProperties)[0]!;
    return { code: 'INVALID_NAME', range, message: `the name "${clip(unknown)}" ${patternWords(pattern)}` };
  }
  const known = Object.keys(parent?.properties ?? {});
  const free = known.filter((candidate) => !value.entries?.has(candidate));
  const place = label(error.instancePath);
  const list = known.length <= maxKeysListed && known.length > 0 ? `; known are ${known.join(', ')}` : '';
  const message = `unknown key "${clip(unknown)}"${place === '' ? '' : ` under ${place}`}${list}`;
  return { code: 'UNKNOWN_KEY', range, message, suggestion: didYouMean(unknown, free) };
}

function words(
  error: ErrorObject,
  params: Record<string, unknown>,
): { message: string; suggestion?: string | undefined } {
  switch (error.keyword) {
    case 'type': {
      const message = `must be ${typeWords(String(params.type))}, not ${valueWords(error.data)}`;
      return { message, suggestion: yamlHint(String(params.type), error.data, error.parentSchema as TextSchema) };
    }
    case 'const':
      return { message: `must be ${JSON.stringify(params.allowedValue)}` };
    case 'anyOf':
      return unionWords(error);
    case 'pattern':
      return { message: patternWords(String(params.pattern)) };
    case 'minLength':
      return { message: 'must not be empty' };
    case 'maxLength':
      return { message: `has more than ${params.limit} characters` };
    case 'minimum':
    case 'exclusiveMinimum':
      return { message: `must be ${params.limit} or more` };
    case 'maximum':
    case 'exclusiveMaximum':
      return { message: `must be ${params.limit} or less` };
    case 'minItems':
      return { message: Number(params.limit) === 1 ? 'must not be empty' : `needs ${params.limit} entries or more` };
    case 'maxItems':
    case 'maxProperties':
      return { message: `has more than ${params.limit} entries` };
    case 'uniqueItems':
      return { message: `holds the same entry twice (numbers ${Number(params.j) + 1} and ${Number(params.i) + 1})` };
    default:
      return { message: error.message ?? 'is not valid' };
  }
}

function unionWords(error: ErrorObject): { message: string; suggestion?: string | undefined } {
  const branches = error.schema as ReadonlyArray<{
    const?: unknown;
    type?: string;
    pattern?: string;
    properties?: object;
  }>;
  const literals = branches.flatMap((branch) => ('const' in branch ? [String(branch.const)] : []));
  if (literals.length === branches.length) {
    const given = typeof error.data === 'string' ? didYouMean(error.data, literals) : undefined;
    return { message: `must be one of ${literals.join(', ')}`, suggestion: given };
  }
  const shapes = branches.map((branch) =>
    'const' in branch
      ? JSON.stringify(branch.const)
      : branch.type === 'object'
        ? `{ ${Object.keys(branch.properties ?? {}).join(', ')} }`
        : branch.pattern?.endsWith('%$')
          ? 'a percentage such as 5%'
          : typeWords(branch.type ?? ''),
  );
  const isMapping = valueWords(error.data) === 'a mapping';
  const message = `must be ${[...new Set(shapes)].join(' or ')}${isMapping ? '' : `, not ${valueWords(error.data)}`}`;
  const unit =
    error.instancePath === '/wait' && typeof error.data === 'number' ? `write the unit: ${error.data}s` : undefined;
  return { message, suggestion: unit };
}

type TextSchema = { pattern?: string } | undefined;

/** What YAML 1.2 reads otherwise than one may expect, from YAML 1.1 or at all. */
function yamlHint(wanted: string, given: unknown, schema: TextSchema): string | undefined {
  if (wanted === 'string' && typeof given === 'number' && schema?.pattern === durationPattern)
    return `write the unit: ${given}s`;
  if (wanted === 'string' && typeof given === 'number' && schema?.pattern === sizePattern)
    return `write the unit: ${given}B`;
  if (wanted === 'string' && typeof given === 'number' && schema?.pattern?.endsWith('%$')) return `write ${given}%`;
  if (wanted === 'string' && (typeof given === 'number' || typeof given === 'boolean'))
    return schema?.pattern === undefined ? 'put it in quotes' : undefined;
  if (typeof given !== 'string') return undefined;
  if (wanted === 'boolean') {
    if (/^(yes|on|y)$/i.test(given)) return `YAML 1.2 reads ${given} as a text: write true`;
    if (/^(no|off|n)$/i.test(given)) return `YAML 1.2 reads ${given} as a text: write false`;
    return /^(true|false)$/.test(given) ? 'write it without quotes' : undefined;
  }
  if (wanted !== 'integer' && wanted !== 'number') return undefined;
  if (/^[0-9]+(_[0-9]+)+$/.test(given)) return `write it without underscores: ${given.replaceAll('_', '')}`;
  return /^-?[0-9]+$/.test(given) ? 'write it without quotes' : undefined;
}

/** Patterns that people meet often, in words. */
function patternWords(pattern: string): string {
  if (pattern.includes('(ms|s|m|h|d)')) return 'must be a duration such as 30s, 5m, 2h or 7d';
  if (pattern === sizePattern) return 'must be a size such as 500B, 10KB or 5GiB';
  if (pattern.startsWith('^[a-z][a-z0-9-]{2,62}$'))
    return 'must have 3 to 63 lower-case letters, digits and hyphens, and begin with a letter';
  if (pattern.startsWith('^[a-z][A-Za-z0-9_]'))
    return 'must begin with a lower-case letter and hold only letters, digits and _ (a hyphen is a minus in an expression)';
  if (pattern.endsWith('%$')) return 'must be a percentage such as 20%, 100% at most';
  if (pattern.includes('(\\.[a-z][a-z0-9-]*)+$'))
    return 'must be an event name such as orders.received: lower-case words joined by dots';
  if (pattern.startsWith('^[A-Za-z_][A-Za-z0-9_-]'))
    return 'must begin with a letter and hold only letters, digits, _ and -';
  if (pattern.startsWith('^[a-z][a-z0-9-]{0,62}$'))
    return 'must begin with a lower-case letter and hold only lower-case letters, digits and hyphens';
  if (pattern.startsWith('^[A-Za-z0-9][A-Za-z0-9._@-]'))
    return 'must be the name of an account: letters, digits and . _ @ -';
  if (pattern.startsWith('^(\\*|')) return 'must be an event name or a family, such as run.failed or orders.*';
  if (pattern === accountPattern) return 'must be the name of an account: letters, digits and . _ @ -';
  return `must match ${pattern}`;
}

function isNameError(error: ErrorObject): boolean {
  return (
    error.keyword === 'pattern' &&
    /\/(id|as|pipeline|endpoint|webhook)$|^\/endpoints\//.test(error.instancePath) &&
    !error.instancePath.startsWith('/session')
  );
}

function typeWords(type: string): string {
  const words: Record<string, string> = {
    string: 'a text',
    integer: 'a whole number',
    number: 'a number',
    boolean: 'true or false',
    array: 'a list',
    object: 'a mapping',
    null: 'empty',
  };
  return words[type] ?? type;
}

function valueWords(value: unknown): string {
  if (value === null || value === undefined) return 'empty';
  if (Array.isArray(value)) return 'a list';
  return typeWords(typeof value);
}

/** `steps[2].with.from` of `/steps/2/with/from`. */
function label(pointer: string): string {
  const parts = pointer
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
  return clip(
    parts.reduce(
      (text, part) => (/^\d+$/.test(part) ? `${text}[${part}]` : text === '' ? part : `${text}.${part}`),
      '',
    ),
  );
}

function clip(text: string): string {
  return text.length > 100 ? `${text.slice(0, 100)}...` : text;
}

function firstKey(value: Located): SourceRange {
  const first = value.entries?.values().next().value;
  return first ? first.key : [value.range[0], value.range[0] + 1];
}

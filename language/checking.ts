import { literalFunction } from './celFunctions.ts';
import { type CheckedExpression, checkExpression, typeOf, typeWords, type ValueType } from './expressions.ts';
import { maxExpressions, type Report, type SourceRange } from './report.ts';
import { type ExpressionScope, fileFactType, isFields, type ScopeType } from './scope.ts';
import type { Located } from './source.ts';
import { bareExpression, hasExpression, parseTemplate } from './template.ts';

/** Checks the expressions that stand in the texts of a file, reports their mistakes in place, and gives their compiled form. */

/** A key that is an expression (`if`, `forEach`, `outputs.*`). Gives its CEL for the plan. */
export function checkBare(text: Located, scope: ExpressionScope, report: Report): CheckedExpression & { cel: string } {
  const { cel, offset: at } = bareExpression(String(text.value));
  if (hasPartlyExpression(text, cel, report)) return { ...unknownExpression, cel };
  const checked = checkAt(text, cel, at, scope, report);
  return { ...checked, cel: compileCel(cel, checked, scope).trim() };
}

/** `if: "${{ inputs.a }} > 1"`: what is an expression already holds another one. */
function hasPartlyExpression(text: Located, cel: string, report: Report): boolean {
  const at = cel.indexOf('${{');
  if (at < 0) return false;
  report.add(
    'INVALID_EXPRESSION',
    [offset(text, at), offset(text, at + 3)],
    'this key is an expression as a whole: `${{` stands around all of it, or not at all',
    `write ${cel.replaceAll(/\$\{\{\s*|\s*\}\}/g, '').slice(0, 200)}`,
  );
  return true;
}

const unknownExpression: CheckedExpression = {
  type: 'any',
  elements: 'dyn',
  references: [],
  firstCalls: [],
  mistakes: [],
};

/** A condition: reports when it cannot be true or false, or is always the same. Gives its CEL. */
export function checkCondition(text: Located, scope: ExpressionScope, report: Report): string {
  const checked = checkBare(text, scope, report);
  expectBool(checked, text, report, 'the condition');
  if (checked.mistakes.length > 0) return checked.cel;
  if (checked.references.length === 0 && checked.type === 'bool')
    report.add(
      'CONSTANT_CONDITION',
      text.range,
      'the condition names nothing that could change: it is always the same',
      'name an input, a variable or an earlier step, or remove it',
    );
  return checked.cel;
}

/**
 * A filter over files. It sees `file` and all that the step sees; what is not `file` is filled in by the workflow before
 * the listing starts, so that the plan holds a template whose filled text names `file` only.
 */
export function checkFilter(text: Located, scope: ExpressionScope, report: Report): string {
  const { cel, offset: at } = bareExpression(String(text.value));
  if (hasPartlyExpression(text, cel, report)) return cel;
  const inner: ExpressionScope = { ...scope, roots: { ...scope.roots, file: fileFactType } };
  const checked = checkAt(text, cel, at, inner, report);
  expectBool(checked, text, report, 'the filter');
  return replaceReferences(cel, checked, (reference, source) => {
    if (reference.segments[0]!.name === 'file') return source;
    return `\${{ ${literalFunction}(${asDouble(reference, source, scope)}) }}`;
  }).trim();
}

/** A text that may hold `${{ }}`. Gives the type of what it becomes and its form for the plan. */
export function checkTemplate(
  text: Located,
  scope: ExpressionScope,
  report: Report,
): { type: ValueType; elements: ScopeType; text: string } {
  const source = String(text.value);
  if (!hasExpression(source)) return { type: 'text', elements: 'dyn', text: source };
  const template = parseTemplate(source);
  if (template.openAt !== null) {
    report.add(
      'INVALID_EXPRESSION',
      [offset(text, template.openAt), offset(text, template.openAt + 3)],
      '`${{` is never closed by `}}`',
    );
    return { type: 'any', elements: 'dyn', text: source };
  }
  let compiled = '';
  let type: ValueType = 'text';
  let elements: ScopeType = 'dyn';
  for (const part of template.parts) {
    if (part.kind === 'text') {
      if (template.exact === null) compiled += part.text;
      continue;
    }
    const checked = checkAt(text, part.text, part.offset, scope, report);
    if (template.exact !== null) {
      type = checked.type;
      elements = checked.elements;
    } else if (checked.type === 'list' || checked.type === 'mapping' || checked.type === 'file set') {
      report.add(
        'TYPE_MISMATCH',
        partRange(text, part),
        `${typeWords(checked.type)} cannot stand inside a text`,
        'take one of its fields, or join() it',
      );
    }
    compiled += `\${{${compileCel(part.text, checked, scope)}}}`;
  }
  return { type, elements, text: compiled };
}

/** Where an expression stands, without the blanks around it. */
function partRange(text: Located, part: { text: string; offset: number }): SourceRange {
  const start = part.offset + (part.text.length - part.text.trimStart().length);
  return [offset(text, start), offset(text, part.offset + part.text.trimEnd().length)];
}

export function offset(text: Located, index: number): number {
  return text.offsetAt ? text.offsetAt(index) : text.range[0];
}

function checkAt(text: Located, cel: string, at: number, scope: ExpressionScope, report: Report): CheckedExpression {
  if (--report.expressionsLeft < 0) {
    if (report.expressionsLeft === -1)
      report.add('FILE_TOO_LARGE', text.range, `a file has at most ${maxExpressions} expressions`);
    return unknownExpression;
  }
  const checked = checkExpression(cel, scope);
  noteUses(checked, scope);
  for (const mistake of checked.mistakes) {
    const whole = mistake.start === 0 && mistake.end >= cel.length;
    const range: SourceRange = whole
      ? partRange(text, { text: cel, offset: at })
      : [offset(text, at + mistake.start), offset(text, at + mistake.end)];
    report.add(mistake.code, range, mistake.message, mistake.suggestion);
  }
  return checked;
}

function noteUses({ references, firstCalls }: CheckedExpression, { uses, roots }: ExpressionScope): void {
  if (!uses) return;
  for (const { segments, dynamic } of references) {
    if (segments[0]!.name !== 'vars') continue;
    const all = isFields(roots.vars) ? Object.keys(roots.vars) : [];
    for (const name of segments[1] && !(dynamic && segments.length < 2) ? [segments[1].name] : all) uses.vars.add(name);
  }
  for (const { segments, count } of firstCalls) {
    const [root, id] = segments;
    if (root!.name === 'steps' && id) uses.heads.set(id.name, Math.max(count, uses.heads.get(id.name) ?? 0));
  }
}

function expectBool(checked: CheckedExpression, text: Located, report: Report, what: string): void {
  if (checked.type === 'bool' || checked.type === 'any') return;
  report.add('TYPE_MISMATCH', text.range, `${what} must give true or false, not ${typeWords(checked.type)}`);
}

/**
 * The CEL for the plan. An input declared `number` may be given as 5, which JSON cannot tell from an integer, and CEL
 * divides integers without remainder: such inputs, and variables made of them, are read through double().
 */
function compileCel(cel: string, checked: CheckedExpression, scope: ExpressionScope): string {
  return replaceReferences(cel, checked, (reference, source) => asDouble(reference, source, scope));
}

type Reference = CheckedExpression['references'][number];

function asDouble(reference: Reference, source: string, scope: ExpressionScope): string {
  const isGiven = ['inputs', 'vars'].includes(reference.segments[0]!.name);
  const isNumber = isGiven && !reference.dynamic && typeOf(reference, scope.roots) === 'double';
  return isNumber && !reference.optional ? `double(${source})` : source;
}

function replaceReferences(
  cel: string,
  checked: CheckedExpression,
  replace: (reference: Reference, source: string) => string,
): string {
  if (checked.mistakes.length > 0) return cel;
  let compiled = cel;
  for (const reference of [...checked.references].sort((left, right) => right.start - left.start)) {
    compiled =
      compiled.slice(0, reference.start) +
      replace(reference, compiled.slice(reference.start, reference.end)) +
      compiled.slice(reference.end);
  }
  return compiled;
}

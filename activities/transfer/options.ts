import { WaybillError } from '../../schema/errors.ts';
import { baseName, joinPath, normalisePath } from '../../schema/paths.ts';
import type { Json } from '../../schema/plan.ts';

export const conflictRules = ['fail', 'skip-identical', 'overwrite', 'version'] as const;
export type ConflictRule = (typeof conflictRules)[number];
export const onceRules = ['target', 'version', 'content', 'off'] as const;
export type OnceRule = (typeof onceRules)[number];
export const verifyRules = ['hash', 'readback', 'size'] as const;
export type VerifyRule = (typeof verifyRules)[number];
export const emptyRules = ['succeed', 'fail', 'skip'] as const;

export type Disposal = { move: string; onConflict: ConflictRule } | { delete: true };

/** How a transfer treats its files: the `with` of `transfer.copy`, with every default filled in. Stored with the transfer. */
export type TransferOptions = {
  onConflict: ConflictRule;
  once: OnceRule;
  verify: VerifyRule;
  then: Disposal | null;
  /** Looks whether what was delivered is still there. */
  recheck: boolean;
  /** One file that was delivered is sent once more, as an operator asked (`prisma/resend.ts`). */
  resend?: true;
  /** The folder below which source paths are kept: the fixed part of a glob, or the folder of a single file. */
  base: string;
  /** Where each file goes. A delivery names its target by the position in this list. */
  targets: TransferTarget[];
};

export type TransferTarget = {
  endpoint: string;
  /** Target file, or target folder (ends in /). */
  to: string;
  /** The source is disposed of only when this one has the file. */
  required: boolean;
};

/** Positions of the targets that need not get the file. */
export function optionalOf(targets: readonly TransferTarget[]): number[] {
  return targets.flatMap(({ required }, number) => (required ? [] : [number]));
}

/** The choice that `given[field]` names, or the first one when it is absent. Throws invalid. */
export function choose<Choice extends string>(
  given: Record<string, Json>,
  field: string,
  choices: readonly Choice[],
): Choice {
  const value = given[field] ?? choices[0]!;
  if (!(choices as readonly Json[]).includes(value))
    throw new WaybillError('invalid', `${field} is ${JSON.stringify(value)}; it must be ${choices.join(', ')}`, {
      field,
    });
  return value as Choice;
}

/** A switch, off when it is absent. Throws invalid. */
export function readSwitch(given: Record<string, Json>, field: string): boolean {
  const value = given[field] ?? false;
  if (typeof value !== 'boolean') throw invalid(field, `is ${JSON.stringify(value)}; it must be true or false`);
  return value;
}

/** The `then` of a copy. Throws invalid; many files cannot all be moved to one file. */
export function readDisposal(given: Json | undefined, manyFiles: boolean): Disposal | null {
  if (given === undefined || given === null) return null;
  if (typeof given !== 'object' || Array.isArray(given)) throw invalid('then', 'must be { move } or { delete: true }');
  if (given.delete === true) return { delete: true };
  if (typeof given.move !== 'string') throw invalid('then', 'must be { move } or { delete: true }');
  const move = normalisePath(given.move);
  if (manyFiles && !move.endsWith('/'))
    throw invalid('then.move', 'must be a folder (end in /), since `from` is a glob');
  return { move, onConflict: choose(given, 'onConflict', conflictRules) };
}

/** A list of globs. Throws invalid. */
export function readGlobs(given: Json | undefined, field: string): string[] {
  if (given === undefined || given === null) return [];
  if (!Array.isArray(given) || !given.every((glob) => typeof glob === 'string'))
    throw invalid(field, 'must be a list of globs');
  return given as string[];
}

/** Where a file goes: into a folder (which ends in /) under its path below `base`, or to exactly `to`. */
export function placeBelow(to: string, sourcePath: string, base: string): string {
  return to.endsWith('/') ? joinPath(to, relativePath(sourcePath, base)) : to;
}

/** `sub/a.csv` of `/out/sub/a.csv` below `/out`; the name alone when it is not below. */
export function relativePath(path: string, base: string): string {
  const folder = base.endsWith('/') ? base : `${base}/`;
  return path.startsWith(folder) ? path.slice(folder.length) : baseName(path);
}

/** The options of a transfer, as `planTransfer` wrote them. Those of an older version have one target, `to`. */
export function optionsOf({ options, targetEndpoint }: { options: Json; targetEndpoint: string }): TransferOptions {
  const stored = options as Partial<TransferOptions> & { to?: string };
  const { to = '/', targets = [{ endpoint: targetEndpoint, to, required: true }], ...rest } = stored;
  return { ...(rest as Omit<TransferOptions, 'targets'>), targets };
}

function invalid(field: string, what: string): WaybillError {
  return new WaybillError('invalid', `${field} ${what}`, { field });
}

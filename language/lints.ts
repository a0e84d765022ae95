import type { ActionBlock, Json } from '../schema/plan.ts';
import { parseDurationMs, parseSizeBytes } from '../schema/quantities.ts';
import { baseEnvironment, parseExpression, referencesOf } from './cel.ts';
import type { Report, SourceRange } from './report.ts';
import type { Located } from './source.ts';
import { hasExpression, parseTemplate } from './template.ts';

/**
 * What a transfer says that is well-formed and still not meant. `compiled` is the checked form of `input`; `aliases` names
 * the endpoint of each alias.
 */
export function lintTransfer(
  input: Located,
  compiled: Record<string, Json>,
  aliases: Readonly<Record<string, string>>,
  report: Report,
): void {
  const from = asLocation(compiled.from);
  const written = input.entries?.get('to')?.value;
  if (!from || !written) return;
  const given = Array.isArray(compiled.to) ? compiled.to : [compiled.to];
  const targets = given.flatMap((one, index) => {
    const to = asLocation(one);
    return to === null ? [] : [{ ...to, range: (written.items?.[index] ?? written).range }];
  });
  const once = compiled.once ?? 'target';
  for (const to of targets) {
    lintFolder(from, to, report);
    if (!input.entries?.has('then') && once !== 'version') lintRepeated(to, report);
  }
  lintSameTarget(targets, once === 'version', aliases, report);
}

type Target = NonNullable<ReturnType<typeof asLocation>> & { range: SourceRange };

function lintFolder(from: { glob?: string }, to: Target, report: Report): void {
  if (from.glob === undefined || to.path === undefined || to.path.endsWith('/') || to.path.endsWith('}}')) return;
  report.add(
    'TARGET_NOT_FOLDER',
    to.range,
    'a glob can match many files: its target must be a folder, a path that ends in /',
    `write ${to.path}/`,
  );
}

/** Of a source that stays. */
function lintRepeated(to: Target, report: Report): void {
  if (to.path === undefined || !namesRun(to.path)) return;
  report.add(
    'SENT_AGAIN_EVERY_RUN',
    to.range,
    'the source stays and the target path differs with each run: every run will send every file again',
    'say `once: version`, or dispose of the source with `then`',
  );
}

function lintSameTarget(
  targets: readonly Target[],
  onceForEndpoint: boolean,
  aliases: Readonly<Record<string, string>>,
  report: Report,
): void {
  const seen = new Set<string>();
  for (const { endpoint = '', path = '', range } of targets) {
    const name = Object.hasOwn(aliases, endpoint) ? aliases[endpoint]! : endpoint;
    const place = JSON.stringify(onceForEndpoint ? [name] : [name, path]);
    if (seen.has(place))
      report.add(
        'SAME_TARGET',
        range,
        onceForEndpoint
          ? `with \`once: version\` each endpoint gets a file once: ${name} is a target already`
          : 'this place is a target already',
      );
    seen.add(place);
  }
}

/** A listing that no file can pass. What is only known when the step runs is looked at then. */
export function lintSelection(input: Located, report: Report): void {
  const bounds = [
    ['minSize', 'maxSize', parseSizeBytes],
    ['minAge', 'maxAge', parseDurationMs],
  ] as const;
  for (const [least, most, parse] of bounds) {
    const [low, high] = [least, most].map((key) => parse(String(input.entries?.get(key)?.value.value ?? '')));
    if (low !== undefined && high !== undefined && low > high)
      report.add(
        'INVALID_VALUE',
        input.entries!.get(most)!.value.range,
        `${most} is less than ${least}: no file can match`,
      );
  }
}

/** What is not well-formed has been reported elsewhere, and is not looked at. */
function asLocation(value: Json | undefined): { endpoint?: string; path?: string; glob?: string } | null {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return null;
  return {
    ...(typeof value.endpoint === 'string' ? { endpoint: value.endpoint } : {}),
    ...(typeof value.path === 'string' ? { path: value.path } : {}),
    ...(typeof value.glob === 'string' ? { glob: value.glob } : {}),
  };
}

function namesRun(template: string): boolean {
  return parseTemplate(template).parts.some((part) => {
    if (part.kind === 'text') return false;
    const parsed = parseExpression(baseEnvironment, part.text);
    if (parsed.run === null) return false;
    return referencesOf(parsed.run.ast).some(
      ({ segments }) => segments[0]!.name === 'run' && segments[1]?.name !== 'pipeline',
    );
  });
}

/** A transfer of the pipeline's steps, as `lintSources` compares them. */
export interface CopiedSource {
  path: string;
  id: string | null;
  /** The location as text, and the loop whose variables may stand in it. */
  from: string;
  /** Where it says what becomes of the source. */
  disposal: SourceRange | null;
}

/** Keeps what a transfer copies; what runs only after a failure is no second target. */
export function noteSource(
  { path, id, with: input }: Pick<ActionBlock, 'path' | 'id' | 'with'>,
  block: Located,
  scope: { handler?: string; loop?: string },
  context: { copiedSources: CopiedSource[] },
): void {
  const from = asLocation(input.from);
  if (!from || input.to === undefined || scope.handler !== undefined) return;
  const text = JSON.stringify(input.from);
  const loop = hasExpression(text) ? (scope.loop ?? '') : '';
  const disposal = block.entries?.get('with')?.value.entries?.get('then')?.key ?? null;
  context.copiedSources.push({ path, id, from: `${loop} ${text}`, disposal });
}

/** Two steps that copy the same source: the one that disposes of it must be the last. */
export function lintSources(sources: readonly CopiedSource[], report: Report): void {
  for (const [index, first] of sources.entries()) {
    for (const second of sources.slice(index + 1)) {
      if (first.from !== second.from) continue;
      const order = orderOf(first.path, second.path);
      const early = first.disposal ? [first, second] : order === 'parallel' && second.disposal ? [second, first] : null;
      if (early === null || order === 'exclusive') continue;
      report.add(
        'SOURCE_DISPOSED_EARLY',
        early[0]!.disposal!,
        `the source is gone before the step \`${early[1]!.id ?? early[1]!.path}\` has surely copied it`,
        'put `then` on the last step that copies it',
      );
      break;
    }
  }
}

/** How two blocks follow each other, from where they stand: what their first different part is. */
function orderOf(first: string, second: string): 'sequence' | 'parallel' | 'exclusive' {
  const others = second.split('.');
  for (const [index, part] of first.split('.').entries()) {
    const other = others[index]!;
    if (part === other) continue;
    if (part.split('[')[0] !== other.split('[')[0]) return 'exclusive';
    return part.startsWith('parallel[') ? 'parallel' : 'sequence';
  }
  return 'sequence';
}

import type { Json } from '../schema/plan.ts';
import { baseEnvironment, parseExpression, referencesOf } from './cel.ts';
import type { Report } from './report.ts';
import type { Located } from './source.ts';
import { parseTemplate } from './template.ts';

/** What a transfer says that is well-formed and still not meant. `compiled` is the checked form of `input`. */
export function lintTransfer(input: Located, compiled: Record<string, Json>, report: Report): void {
  const from = asLocation(compiled.from);
  const to = asLocation(compiled.to);
  const target = input.entries?.get('to')?.value;
  if (!from || !to || !target) return;
  if (from.glob !== undefined && to.path !== undefined && !to.path.endsWith('/') && !to.path.endsWith('}}')) {
    report.add(
      'TARGET_NOT_FOLDER',
      target.range,
      'a glob can match many files: its target must be a folder, a path that ends in /',
      `write ${to.path}/`,
    );
  }
  const staysAtSource = !input.entries?.has('then');
  const once = compiled.once ?? 'target';
  if (staysAtSource && once !== 'version' && to.path !== undefined && namesRun(to.path)) {
    report.add(
      'SENT_AGAIN_EVERY_RUN',
      target.range,
      'the source stays and the target path differs with each run: every run will send every file again',
      'say `once: version`, or dispose of the source with `then`',
    );
  }
}

/** What is not well-formed has been reported elsewhere, and is not looked at. */
function asLocation(value: Json | undefined): { path?: string; glob?: string } | null {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return null;
  return {
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

import type { Json } from '../../schema/plan.ts';
import { type Output, printable } from '../output.ts';

/** An endpoint as the command line shows it. */
export interface EndpointView {
  id: string;
  name: string;
  connector: string;
  config: Json;
  limits: { concurrency?: number; bandwidth?: string };
  version: number;
  updatedAt: string;
  pause: { at: string; until: string | null; by: { name: string } | null; reason: string | null } | null;
  breaker: { failures: number; openUntil: string | null; errorKind: string; errorMessage: string } | null;
  heldRuns: number;
  heldDeliveries: number;
  check: CheckView | null;
}

export interface CheckView {
  ok: boolean;
  checkedAt: string;
  server: string | null;
  roundTripMs: number | null;
  clockSkewMs: number | null;
  identity: string | null;
  rights: Record<'list' | 'read' | 'write' | 'rename' | 'delete', boolean | null> | null;
  capabilities: Json;
  left: string | null;
  errorKind: string | null;
  errorMessage: string | null;
}

export const checkFields = `ok checkedAt server roundTripMs clockSkewMs identity rights { list read write rename delete }
  capabilities left errorKind errorMessage`;
export const endpointFields = `id name connector config limits version updatedAt pause { at until by { name } reason }
  breaker { failures openUntil errorKind errorMessage } heldRuns heldDeliveries check { ${checkFields} }`;

/** Whether it takes work, in a word and in a sentence. */
export function standingOf({ pause, breaker }: EndpointView): { state: string; sentence: string } {
  if (pause !== null) {
    const until = pause.until === null ? 'until it is resumed' : `until ${pause.until}`;
    const why = pause.reason === null ? '' : `: ${printable(pause.reason)}`;
    return { state: 'paused', sentence: `paused by ${pause.by?.name ?? 'somebody'} since ${pause.at}, ${until}${why}` };
  }
  if (breaker?.openUntil != null) {
    const last = `${breaker.errorKind}: ${printable(breaker.errorMessage)}`;
    return {
      state: 'held',
      sentence: `failed ${breaker.failures} times in a row, tried again at ${breaker.openUntil}; the last time: ${last}`,
    };
  }
  return { state: 'open', sentence: 'takes work' };
}

export function showCheck(output: Output, name: string, check: CheckView): void {
  const { green, red } = output.colors;
  if (!check.ok) {
    output.line(`${red('failed')}  ${name}  ${check.errorKind}: ${printable(check.errorMessage)}`);
    return;
  }
  const facts = [
    printable(check.server),
    check.roundTripMs === null ? null : `${check.roundTripMs.toFixed(1)} ms`,
    check.clockSkewMs === null ? null : `clock ${toldSkew(check.clockSkewMs)}`,
    check.identity === null ? null : printable(check.identity),
  ];
  output.line(`${green('ok')}  ${name}  ${facts.filter((fact) => fact !== null).join(', ')}`);
  if (check.rights !== null) {
    const rights = Object.entries(check.rights);
    const named = (value: boolean | null) => rights.filter(([, right]) => right === value).map(([right]) => right);
    const parts = [
      `may ${named(true).join(', ') || 'nothing'}`,
      ...(named(false).length > 0 ? [`may not ${named(false).join(', ')}`] : []),
      ...(named(null).length > 0 ? [`not tried: ${named(null).join(', ')}`] : []),
    ];
    output.line(`    ${parts.join('; ')}`);
  }
  if (check.left !== null) output.line(`    left behind, since it may not be removed: ${printable(check.left)}`);
}

/** Under two seconds nobody can tell: servers stamp files with whole seconds. */
function toldSkew(skewMs: number): string {
  if (Math.abs(skewMs) < 2_000) return 'right';
  return `${Math.round(Math.abs(skewMs) / 1000)} s ${skewMs > 0 ? 'ahead' : 'behind'}`;
}

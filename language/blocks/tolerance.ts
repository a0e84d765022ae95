import type { Tolerance } from '../../schema/plan.ts';
import { percentagePattern } from '../../schema/quantities.ts';
import type { Report } from '../report.ts';
import type { Located } from '../source.ts';

/** `tolerate: 3` or `tolerate: 5%`; null when it is not there, or has been reported as wrong. */
export function checkTolerance(block: Located, report: Report): Tolerance | null {
  const entry = block.entries!.get('tolerate');
  if (!entry) return null;
  const { value } = entry.value;
  const tolerance = readTolerance(value);
  if (tolerance && Object.values(tolerance)[0] === 0)
    report.add(
      'TOLERATES_NOTHING',
      entry.value.range,
      `\`tolerate: ${value}\` tolerates nothing, which goes without saying`,
      'remove it, or tolerate more',
    );
  return tolerance;
}

function readTolerance(value: unknown): Tolerance | null {
  if (typeof value === 'number') return { count: value };
  if (typeof value === 'string' && new RegExp(percentagePattern).test(value))
    return { percent: Number(value.slice(0, -1)) };
  return null;
}

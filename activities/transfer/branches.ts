import type { DeliveryRow } from '../../prisma/ledger.ts';
import { asWaybillError, WaybillError } from '../../schema/errors.ts';
import { mayRetry, nextDelayMs } from '../failure.ts';
import { holdOf } from '../limits/hold.ts';
import { type Borrowed, borrow } from './borrow.ts';
import type { Copy, CopyWork, SharedWork } from './copyWork.ts';
import { createGate } from './gate.ts';
import type { TransferTarget } from './options.ts';

/** What one attempt at a batch does for one target. It fails alone: the other targets go on. */
export interface Branch {
  target: TransferTarget;
  /** null: its endpoint could not be opened (`refusal`), or need not be, since all that is left is at the source. */
  work: CopyWork | null;
  refusal: WaybillError | null;
  inFlight: Set<Copy>;
  /** The first failure of a file that gets another attempt. */
  postponed: WaybillError | null;
}

/** Opens the targets that have something to do, and gives them back at the end. */
export async function withBranches(
  shared: SharedWork,
  rows: readonly DeliveryRow[],
  work: (branches: ReadonlyMap<number, Branch>) => Promise<void>,
): Promise<void> {
  const { dependencies, tenantId, options } = shared;
  const { targets } = options;
  const ends = new Map<string, Borrowed | WaybillError>();
  const branches = new Map<number, Branch>();
  try {
    for (const [number, target] of targets.entries()) {
      const { endpoint } = target;
      branches.set(number, { target, work: null, refusal: null, inFlight: new Set(), postponed: null });
      if (!rows.some((row) => row.target === number)) continue;
      if (!ends.has(endpoint))
        ends.set(endpoint, await borrow(dependencies.endpoints, tenantId, endpoint).catch(asWaybillError));
      branches.set(number, openBranch(target, ends.get(endpoint)!, shared));
    }
    await work(branches);
  } finally {
    const given = [...ends].map(([endpoint, end]) => {
      if (end instanceof WaybillError) return undefined;
      const failures = [...branches.values()].filter(({ target }) => target.endpoint === endpoint).map(failureOf);
      return end.giveBack(failures.find((failure) => failure !== null) ?? null);
    });
    await Promise.all(given);
  }
}

function openBranch(target: TransferTarget, end: Borrowed | WaybillError, shared: SharedWork): Branch {
  const branch: Branch = { target, work: null, refusal: null, inFlight: new Set(), postponed: null };
  if (end instanceof WaybillError) return { ...branch, refusal: end };
  const { source, options } = shared;
  const isOneOfMany = options.targets.length > 1;
  const filesGate = createGate(filesAt(end.end));
  const sourceFilesGate = isOneOfMany ? null : createGate(filesAt(source));
  branch.work = { ...shared, target: end.end, to: target.to, isOneOfMany, filesGate, sourceFilesGate, stop: null };
  return branch;
}

/** How many files an endpoint takes at a time from one batch. */
export function filesAt({ connector, settings }: Borrowed['end']): number {
  return Math.max(1, Math.min(connector.capabilities.filesInFlight, settings.concurrency));
}

/** What has stopped the target, or one of its files that gets another attempt. */
export function failureOf({ refusal, work, postponed }: Branch): WaybillError | null {
  return refusal ?? work?.stop ?? postponed;
}

/**
 * What the attempt has to throw, so that there is another one; and the optional targets that get none: nobody waits for
 * them while their endpoint is held, nor longer than the step has patience.
 */
export function endOf(
  branches: Iterable<Branch>,
  shared: SharedWork,
): { thrown: WaybillError | null; givenUp: Branch[] } {
  const failed = [...branches].flatMap((branch) => {
    const failure = failureOf(branch);
    return failure === null ? [] : [{ branch, failure }];
  });
  const toThrow = failed.filter(({ branch, failure }) => !mayGiveUp(branch, failure, shared));
  // A failure gets its next attempt sooner than a hold ends.
  const first = toThrow.find(({ failure }) => holdOf(failure) === null) ?? toThrow[0];
  if (first !== undefined) return { thrown: first.failure, givenUp: [] };
  return { thrown: null, givenUp: failed.map(({ branch }) => branch) };
}

function mayGiveUp({ target }: Branch, failure: WaybillError, { context, dependencies, source }: SharedWork): boolean {
  const isOfSource = failure.context.endpoint === source.name && source.name !== target.endpoint;
  if (target.required || isOfSource || failure.context.leaseLost === true) return false;
  if (holdOf(failure) !== null) return true;
  const { retry } = context.terms;
  const nowMs = dependencies.clock.now().getTime();
  const { attempt, sinceMs = nowMs } = context;
  const inTime = nowMs + nextDelayMs(failure, retry, attempt, () => 1) - sinceMs <= retry.forMs;
  return !mayRetry(failure, retry, attempt) || !inTime;
}

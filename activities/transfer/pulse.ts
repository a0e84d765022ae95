import { WaybillError } from '../../schema/errors.ts';
import { limits } from './context.ts';
import type { Copy, CopyWork } from './copyWork.ts';
import { leaseLost } from './ledgerWriter.ts';

/** Every second: the heartbeat, the checkpoint and lease of each copy that takes longer, and an end to those that stand still. */
export function startPulse(work: CopyWork, inFlight: ReadonlySet<Copy>): { stop(): Promise<void> } {
  const { context, done, ledger, dependencies } = work;
  const seen = new WeakSet<Copy>();
  let saving: Promise<void> = Promise.resolve();
  let isSaving = false;

  async function save(copies: readonly Copy[]): Promise<void> {
    const rows = copies.map((copy) => ({ ...copy.row, bytesDone: Math.min(copy.bytesDone, copy.row.sourceSize) }));
    const askedAtMs = performance.now();
    const lost = new Set(await ledger.checkpoint(rows));
    for (const copy of copies)
      if (!lost.has(copy.row.id)) copy.fence.renewed(askedAtMs);
      else if (copy.claimed) copy.stop(leaseLost());
  }

  function beat() {
    context.heartbeat({ ...done });
    const nowMs = dependencies.clock.now().getTime();
    const { stallMs } = context.terms;
    for (const copy of inFlight) copy.fence.look();
    const held = work.source.settings.held() ?? work.target.settings.held();
    if (held !== null) {
      work.stop ??= held;
      for (const copy of inFlight) copy.stop(held);
    }
    for (const copy of inFlight)
      if (!copy.waiting && nowMs - copy.movedAtMs > stallMs)
        copy.stop(
          new WaybillError('timeout', `no byte and no answer for ${Math.round(stallMs / 1000)} s`, {
            path: copy.row.sourcePath,
          }),
        );
    const longer = [...inFlight].filter((copy) => copy.claimed && seen.has(copy));
    for (const copy of inFlight) seen.add(copy);
    if (longer.length === 0 || isSaving) return;
    isSaving = true;
    // A checkpoint that fails is no failure of the copy: when the claim is lost for good, publishing finds out.
    saving = save(longer)
      .catch((error: unknown) => work.dependencies.log.debug({ error: String(error) }, 'a checkpoint was not saved'))
      .finally(() => {
        isSaving = false;
      });
  }

  beat();
  const timer = setInterval(beat, limits.heartbeatMs);
  return {
    async stop() {
      clearInterval(timer);
      await saving;
    },
  };
}

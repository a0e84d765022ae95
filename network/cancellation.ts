import { WaybillError } from '../schema/errors.ts';

/** The error a cancelled operation ends in: the signal's own reason when that is a WaybillError (a deadline above us), else `cancelled`. */
export function cancellation(signal: AbortSignal): WaybillError {
  return signal.reason instanceof WaybillError
    ? signal.reason
    : new WaybillError('cancelled', 'cancelled', { cause: signal.reason });
}

/** Throws when the signal is aborted. */
export function throwIfCancelled(signal: AbortSignal): void {
  if (signal.aborted) throw cancellation(signal);
}

/**
 * The value of `work`, or the signal's error as soon as it is aborted. Work that cannot be stopped goes on unwatched:
 * `discard` then gets its late value, to close what it opened.
 */
export function orCancelled<Value>(
  work: Promise<Value>,
  signal: AbortSignal,
  discard?: (late: Value) => void,
): Promise<Value> {
  return new Promise<Value>((resolve, reject) => {
    const onAbort = () => reject(cancellation(signal));
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
    work.then(
      (value) => {
        signal.removeEventListener('abort', onAbort);
        if (signal.aborted) discard?.(value);
        else resolve(value);
      },
      (error) => {
        signal.removeEventListener('abort', onAbort);
        reject(error);
      },
    );
  });
}

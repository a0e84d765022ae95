import { WaybillError } from '../schema/errors.ts';
import { limits } from './limits.ts';

/** Counts open subscriptions by credential; the function it gives opens one and gives what frees it, safe twice. Throws rate-limited. */
export function createSubscriptionLimit(): (credentialId: string) => () => void {
  const open = new Map<string, number>();
  return (credentialId) => {
    const count = open.get(credentialId) ?? 0;
    if (count >= limits.subscriptionsPerKey)
      throw new WaybillError(
        'rate-limited',
        `a credential has at most ${limits.subscriptionsPerKey} subscriptions open`,
      );
    open.set(credentialId, count + 1);
    let isOpen = true;
    return () => {
      if (!isOpen) return;
      isOpen = false;
      const left = open.get(credentialId)! - 1;
      if (left === 0) open.delete(credentialId);
      else open.set(credentialId, left);
    };
  };
}

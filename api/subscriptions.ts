import { WaybillError } from '../schema/errors.ts';
import { limits } from './limits.ts';

/** Counts open subscriptions by key; the function it gives opens one and gives what frees it, safe twice. Throws rate-limited. */
export function createSubscriptionLimit(): (apiKeyId: string) => () => void {
  const open = new Map<string, number>();
  return (apiKeyId) => {
    const count = open.get(apiKeyId) ?? 0;
    if (count >= limits.subscriptionsPerKey)
      throw new WaybillError('rate-limited', `a key has at most ${limits.subscriptionsPerKey} subscriptions open`);
    open.set(apiKeyId, count + 1);
    let isOpen = true;
    return () => {
      if (!isOpen) return;
      isOpen = false;
      const left = open.get(apiKeyId)! - 1;
      if (left === 0) open.delete(apiKeyId);
      else open.set(apiKeyId, left);
    };
  };
}

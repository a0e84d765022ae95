import { createHmac, randomBytes } from 'node:crypto';

/**
 * Work that is asked for while the same is under way is done once, for all who ask in this process; what it throws, all of
 * them are thrown. What tells two works apart may be secret: it is kept as a digest that nobody else can make.
 */
export function createTogetherOnce<Kept>(): (same: readonly string[], work: () => Promise<Kept>) => Promise<Kept> {
  const key = randomBytes(32);
  const underWay = new Map<string, Promise<Kept>>();
  return (same, work) => {
    const name = createHmac('sha256', key).update(JSON.stringify(same)).digest('base64');
    const before = underWay.get(name);
    if (before !== undefined) return before;
    const mine = work().finally(() => underWay.delete(name));
    underWay.set(name, mine);
    return mine;
  };
}

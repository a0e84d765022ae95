/** Lets work of the same place go on one after the other, in the order in which it came. */
export interface Turns {
  /** What the work gives or throws. That others before it have failed is nothing to it. */
  take<Result>(place: string, work: () => Promise<Result>): Promise<Result>;
}

/** Turns of this process; across processes a lock of the database keeps the order. */
export function createTurns(): Turns {
  const last = new Map<string, Promise<unknown>>();
  return {
    take: async (place, work) => {
      const before = last.get(place) ?? Promise.resolve();
      const mine = before.then(work, work);
      last.set(place, mine);
      try {
        return await mine;
      } finally {
        if (last.get(place) === mine) last.delete(place);
      }
    },
  };
}

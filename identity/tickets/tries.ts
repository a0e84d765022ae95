/** Lets no more tries of one place go on at once than may all fail; the others wait until one of them has ended. */
export interface Tries {
  /**
   * Does the work once fewer than `room` are under way. `room` is asked again after each try that ended; what it throws
   * refuses, and nothing is done then. Gives what the work gives or throws.
   */
  take<Result>(place: string, room: () => Promise<number>, work: () => Promise<Result>): Promise<Result>;
}

export function createTries(): Tries {
  const places = new Map<string, Place>();
  return {
    take: async (name, room, work) => {
      const place = places.get(name) ?? { underWay: 0, ended: 0, here: 0, waiting: [] };
      places.set(name, place);
      place.here++;
      try {
        await enter(place, room);
        try {
          return await work();
        } finally {
          place.underWay--;
          place.ended++;
        }
      } finally {
        place.waiting.shift()?.();
        if (--place.here === 0) places.delete(name);
      }
    },
  };
}

interface Place {
  underWay: number;
  ended: number;
  /** Those that wait too. */
  here: number;
  waiting: Array<() => void>;
}

async function enter(place: Place, room: () => Promise<number>): Promise<void> {
  for (;;) {
    const endedBefore = place.ended;
    const most = await room();
    // One that ended meanwhile may have failed, and counts in neither number.
    if (place.ended !== endedBefore) continue;
    if (place.underWay < most) break;
    await new Promise<void>((resolve) => place.waiting.push(resolve));
  }
  place.underWay++;
  place.waiting.shift()?.();
}

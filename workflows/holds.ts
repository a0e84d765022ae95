import { CancellationScope, condition } from '@temporalio/workflow';
import type { Hold } from '../schema/workflow.ts';

/** A call that an endpoint holds, in its place among those of the run that wait for the same endpoint. */
export interface HeldCall {
  /** Settles when it is to be tried again. Throws when it is cancelled. */
  turn(): Promise<void>;
  /** It is held again, by the same endpoint or another. */
  again(hold: Hold): void;
  /** It waits no more; `through`: the endpoint has taken it, and the others may try at once. */
  leave(through: boolean): Promise<void>;
}

/** The first waits that nobody ends are this long, later ones longer: a history has room for weeks of them. */
const firstWaitMs = 60_000;
const waitFactor = 1.5;
const longestWaitMs = 600_000;
const shortestWaitMs = 1_000;

interface Queue {
  places: object[];
  releases: number;
}

/**
 * The calls of one run that endpoints hold. Of those that wait for one endpoint only the first asks again, when its time
 * has come; the others follow it, one after the other, or all at once when it got through or somebody released the
 * endpoint. So a hundred calls that wait for days write no more history than one.
 */
export class Holds {
  readonly #queues = new Map<string, Queue>();
  readonly #current = new Map<object, Hold>();
  readonly #tell: (holds: Hold[]) => Promise<string[]>;
  readonly #show: () => void;
  #told = '[]';
  #telling: Promise<void> = Promise.resolve();

  /** `tell` notes what the run waits for where others read it, and gives endpoints that are free again; `show` is called when that changes. */
  constructor(tell: (holds: Hold[]) => Promise<string[]>, show: () => void) {
    this.#tell = tell;
    this.#show = show;
  }

  /** One for each endpoint that the run waits for. */
  list(): Hold[] {
    const byEndpoint = new Map<string, Hold>();
    // Of two that were told of one endpoint the first in the queue has asked last.
    for (const { places } of this.#queues.values())
      for (const place of places.slice(0, 1)) {
        const hold = this.#current.get(place)!;
        byEndpoint.set(hold.endpoint, hold);
      }
    return [...byEndpoint.values()];
  }

  /** Everything that waits tries again at once. */
  release(): void {
    for (const queue of this.#queues.values()) queue.releases++;
  }

  hold(first: Hold): HeldCall {
    const place = {};
    let hold = first;
    let queue = this.#join(place, hold);
    let asked = 0;
    void this.#noted();
    return {
      turn: async () => {
        const { releases } = queue;
        const isReleased = () => queue.releases !== releases;
        await condition(() => isReleased() || queue.places[0] === place);
        if (isReleased()) return;
        const mostMs = Math.min(longestWaitMs, firstWaitMs * waitFactor ** asked++);
        const waitMs = hold.untilMs === null ? mostMs : Math.min(hold.untilMs - Date.now(), mostMs);
        await condition(isReleased, Math.max(shortestWaitMs, Math.round(waitMs)));
      },
      again: (next) => {
        if (next.endpoint !== hold.endpoint) {
          this.#part(place, hold, true);
          queue = this.#join(place, next);
        }
        hold = next;
        this.#current.set(place, next);
        void this.#noted();
      },
      leave: async (through) => {
        this.#part(place, hold, through);
        await this.#noted();
      },
    };
  }

  #join(place: object, hold: Hold): Queue {
    const queue = this.#queues.get(hold.endpoint) ?? { places: [], releases: 0 };
    this.#queues.set(hold.endpoint, queue);
    queue.places.push(place);
    this.#current.set(place, hold);
    return queue;
  }

  #part(place: object, { endpoint }: Hold, through: boolean): void {
    const queue = this.#queues.get(endpoint)!;
    queue.places = queue.places.filter((other) => other !== place);
    if (through) queue.releases++;
    if (queue.places.length === 0) this.#queues.delete(endpoint);
    this.#current.delete(place);
  }

  /** Tells of each change once, in order, whatever is cancelled meanwhile. */
  #noted(): Promise<void> {
    const holds = this.list();
    const now = JSON.stringify(holds);
    if (now === this.#told) return this.#telling;
    this.#told = now;
    this.#show();
    const tell = () =>
      CancellationScope.nonCancellable(async () => {
        // Whoever freed one before it was noted that the run waits for it could not tell the run.
        for (const endpoint of await this.#tell(holds)) {
          const queue = this.#queues.get(endpoint);
          if (queue !== undefined) queue.releases++;
        }
      });
    // What a run waits for is for people: that it could not be written down stops nothing.
    this.#telling = this.#telling.then(tell).catch(() => undefined);
    return this.#telling;
  }
}

import type { Client } from '@temporalio/client';
import { endsWithin } from './deadline.ts';

/** Requests to Temporal, each with an end. */
export interface TemporalCalls {
  /** Throws timeout when there is no answer in time, also while there is no connection; or what the client throws. */
  call<Result>(timeoutMs: number, request: (client: Client) => Promise<Result>): Promise<Result>;
  /** Settles when no request is under way any more. */
  settled(): Promise<void>;
}

export function createTemporalCalls(client: Client): TemporalCalls {
  const pending = new Set<Promise<unknown>>();
  return {
    call: async (timeoutMs, request) => {
      const answer = client.withDeadline(Date.now() + timeoutMs, () => request(client));
      pending.add(answer);
      const forget = () => pending.delete(answer);
      answer.then(forget, forget);
      return endsWithin(timeoutMs, answer);
    },
    // The client's retry timers outlive a deadline by seconds, and throw out of nowhere when the connection is closed first.
    settled: async () => {
      await Promise.allSettled(pending);
    },
  };
}

import type { NewEvent } from '../../audit/record.ts';
import type { Caller } from '../../identity/apiKeys.ts';

/** Who an event of an API request names as its actor. */
export function actorOf(caller: Caller): NewEvent['actor'] {
  return { principalId: caller.principalId };
}

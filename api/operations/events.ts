import type { NewEvent } from '../../audit/record.ts';
import type { Caller } from '../../identity/caller.ts';

/** Who an event of an API request names as its actor. */
export function actorOf(caller: Caller): NewEvent['actor'] {
  const { principalId, credential } = caller;
  if (credential.kind === 'key') return { principalId };
  return { principalId, sessionId: credential.id, applicationId: credential.applicationId };
}

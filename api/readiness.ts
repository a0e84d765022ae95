import type { ApiDependencies } from './context.ts';
import { endsWithin } from './deadline.ts';
import { limits } from './limits.ts';
import type { TemporalCalls } from './temporalCalls.ts';

export interface Readiness {
  ready: boolean;
  database: boolean;
  temporal: boolean;
}

/** Whether what the API stands on answers. Anyone may ask, so one look serves all who ask within a second. */
export function createReadiness(
  { store, namespace }: ApiDependencies,
  temporalCalls: TemporalCalls,
): () => Promise<Readiness> {
  let last: { askedAt: number; answer: Promise<Readiness> } | undefined;

  const look = async (): Promise<Readiness> => {
    const database = answers(endsWithin(limits.readyTimeoutMs, store.findCredential('api_key', Buffer.alloc(32))));
    const cluster = answers(
      temporalCalls.call(limits.readyTimeoutMs, (temporal) =>
        temporal.workflowService.describeNamespace({ namespace }),
      ),
    );
    const [hasDatabase, hasTemporal] = await Promise.all([database, cluster]);
    return { ready: hasDatabase && hasTemporal, database: hasDatabase, temporal: hasTemporal };
  };

  return () => {
    const now = performance.now();
    if (last === undefined || now - last.askedAt > limits.readyRememberedMs) last = { askedAt: now, answer: look() };
    return last.answer;
  };
}

async function answers(question: Promise<unknown>): Promise<boolean> {
  return question.then(
    () => true,
    () => false,
  );
}

import { type ActivityContext, limits } from './context.ts';

/** Says once a second that the work goes on, and what `details` gives. */
export async function withHeartbeat<Result>(
  context: ActivityContext,
  details: () => unknown,
  work: () => Promise<Result>,
): Promise<Result> {
  context.signal.throwIfAborted();
  context.heartbeat(details());
  const timer = setInterval(() => context.heartbeat(details()), limits.heartbeatMs);
  try {
    return await work();
  } finally {
    clearInterval(timer);
  }
}

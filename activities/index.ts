import { activityInfo, cancellationSignal, heartbeat } from '@temporalio/activity';
import type { CallTerms, RunArguments } from '../schema/workflow.ts';
import { toApplicationFailure } from './failure.ts';
import { type EventInput, sendMessage, writeEvent } from './messages.ts';
import { beginRun, finishRun } from './run.ts';
import type { ActivityContext } from './transfer/context.ts';
import { createTransferWork, type TransferDependencies } from './transfer/index.ts';

type Activity = (input: never, terms: CallTerms) => Promise<unknown>;

/** Short activities of runs. Their names are the actions of the language, and ours: `run.*`, `files.page`, `transfer.finish`. */
export function createRunActivities(dependencies: TransferDependencies): Record<string, Activity> {
  const { store } = dependencies;
  const work = createTransferWork(dependencies);
  return {
    'run.begin': activity((input: RunArguments) => beginRun(store, input)),
    'run.finish': activity((input: Parameters<typeof finishRun>[1]) => finishRun(store, input)),
    'files.page': activity(work.fileSetPage),
    'files.move@1': activity(work.moveFile),
    'files.delete@1': activity(work.deleteFile),
    'transfer.finish': activity(work.finishTransfer),
    'webhook.send@1': activity((input: EventInput) => sendMessage(store, input)),
    'audit.write@1': activity((input: EventInput) => writeEvent(store, input)),
  };
}

/** Activities that move bytes or list other people's folders, on a queue of their own. They heartbeat. */
export function createTransferActivities(dependencies: TransferDependencies): Record<string, Activity> {
  const work = createTransferWork(dependencies);
  return {
    'files.list@1': activity(work.listFiles),
    'transfer.plan': activity(work.planTransfer),
    'transfer.batch': activity(work.copyBatch),
  };
}

/** Runs work as a Temporal activity: gives it its context, and says its failures in Temporal's words. */
function activity<Input, Answer>(work: (input: Input, context: ActivityContext) => Promise<Answer>): Activity {
  return async (input: Input, terms: CallTerms) => {
    const info = activityInfo();
    const context: ActivityContext = {
      signal: cancellationSignal(),
      heartbeat,
      owner: `${info.activityId}/${info.workflowExecution?.runId}/${info.attempt}`,
      attempt: info.attempt,
      terms,
    };
    try {
      return await work(input, context);
    } catch (error) {
      throw toApplicationFailure(error, {
        policy: terms.retry,
        attempt: info.attempt,
        startedAtMs: info.scheduledTimestampMs,
      });
    }
  };
}

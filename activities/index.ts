import { activityInfo, cancellationSignal, heartbeat } from '@temporalio/activity';
import { CancelledFailure } from '@temporalio/common';
import type { CallTerms, HeldAnswer, Hold, RunArguments } from '../schema/workflow.ts';
import { requestHttp } from './actions/httpRequest.ts';
import { makeFolder } from './actions/makeFolder.ts';
import { sendNotification } from './actions/notify.ts';
import { readFile } from './actions/readFile.ts';
import { closeSession, openSession, type SessionInput } from './actions/sessions.ts';
import { statFile } from './actions/statFile.ts';
import { writeFile } from './actions/writeFile.ts';
import { toApplicationFailure } from './failure.ts';
import { holdOf } from './limits/hold.ts';
import { type EventInput, sendMessage, writeEvent } from './messages.ts';
import { patienceOf } from './patience.ts';
import { beginRun, controlRun, finishRun, noteHolds } from './run.ts';
import type { ActivityContext } from './transfer/context.ts';
import type { FilesInput } from './transfer/files.ts';
import { createTransferWork, type TransferDependencies } from './transfer/index.ts';

type Activity = (input: never, terms: CallTerms) => Promise<unknown>;

/** Short activities of runs. Their names are the actions of the language, and ours: `run.*`, `files.page`, `transfer.finish`. */
export function createRunActivities(dependencies: TransferDependencies): Record<string, Activity> {
  const { store } = dependencies;
  const work = createTransferWork(dependencies);
  return {
    'run.begin': activity((input: RunArguments) => beginRun(store, input)),
    'run.finish': activity((input: Parameters<typeof finishRun>[1]) => finishRun(store, input)),
    'run.control': activity((input: RunArguments) => controlRun(store, input)),
    'run.holds': activity((input: RunArguments & { holds: Hold[] }) => noteHolds(store, input)),
    'files.page': activity(work.fileSetPage),
    'files.move@1': activity(work.moveFile),
    'files.delete@1': activity(work.deleteFile),
    'files.stat@1': activity((input: FilesInput, context) => statFile(dependencies, input, context)),
    'files.read@1': activity((input: FilesInput, context) => readFile(dependencies, input, context)),
    'files.write@1': activity((input: FilesInput, context) => writeFile(dependencies, input, context)),
    'files.makeFolder@1': activity((input: FilesInput, context) => makeFolder(dependencies, input, context)),
    'http.request@1': activity((input: FilesInput, context) => requestHttp(dependencies, input, context)),
    'notify.send@1': activity((input: FilesInput, context) => sendNotification(dependencies, input, context)),
    'session.open@1': activity((input: SessionInput) => openSession(store, input)),
    'session.close@1': activity((input: SessionInput) => closeSession(store, input)),
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

/** Runs work as a Temporal activity: gives it its context, and says its failures in Temporal's words. That an endpoint holds it is an answer. */
function activity<Input, Answer>(work: (input: Input, context: ActivityContext) => Promise<Answer>): Activity {
  return async (input: Input, terms: CallTerms) => {
    const info = activityInfo();
    const { attempts, patienceMs } = terms.spent ?? { attempts: 0, patienceMs: 0 };
    const { scheduledTimestampMs, heartbeatDetails } = info;
    const before = { scheduledTimestampMs, heartbeatDetails, spentMs: patienceMs, spentAttempts: attempts };
    const patience = patienceOf(before, heartbeat);
    const context: ActivityContext = {
      signal: cancellationSignal(),
      heartbeat: patience.heartbeat,
      owner: `${info.activityId}/${info.workflowExecution?.runId}/${info.attempt}`,
      get attempt() {
        return patience.attempt();
      },
      get sinceMs() {
        return patience.sinceMs();
      },
      terms,
    };
    try {
      return await work(input, context);
    } catch (error) {
      const held = holdOf(error);
      if (held !== null) {
        // This attempt has tried nothing.
        const spent = { attempts: patience.attempt() - 1, patienceMs: Date.now() - patience.sinceMs() };
        return { held, spent } satisfies HeldAnswer;
      }
      const failure = toApplicationFailure(error, {
        policy: terms.retry,
        attempt: patience.attempt(),
        startedAtMs: patience.sinceMs(),
      });
      if (!(failure instanceof CancelledFailure)) patience.failed();
      throw failure;
    }
  };
}

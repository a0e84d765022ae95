import type { ErrorKind } from '../../schema/errors.ts';
import type { Failure, Json } from '../../schema/plan.ts';
import { hashOf } from '../random.ts';

/** What the world answers to a call: a pure function of the call, and of how often it was made before. */
export type Answer = { output: Json } | { failure: Failure; flaky?: boolean };

/** One call as a test sees it, whoever made it. */
export interface SeenCall {
  activity: string;
  input: Record<string, Json>;
}

/**
 * The generated steps say themselves how they end: `data: { fails, as }` of an event, the folders of a path
 * (`/some/not-found/n4/7`). `some` lets the rest of the input decide; `once` fails the first attempt only.
 */
export function answer({ activity, input }: SeenCall, madeBefore: number, attempt = 1): Answer {
  const given = (input.with ?? {}) as Record<string, Json>;
  switch (activity) {
    case 'audit.write@1':
    case 'webhook.send@1':
      return eventAnswer(activity, given, madeBefore, attempt);
    case 'files.delete@1':
      return pathAnswer(pathOf(given.at));
    case 'files.move@1':
      return pathAnswer(pathOf(given.from));
    case 'files.list@1':
      return { output: listing(pathOf(given.from)) };
    case 'files.page':
      return { output: page(String(input.ref), Number(input.after), Number(input.limit)) };
    case 'transfer.plan':
      return { output: transferPlan(pathOf(given.from), String(input.stepKey)) };
    case 'transfer.batch':
      return batch(String(input.transferId), Number(input.batch));
    case 'transfer.finish':
      return { output: transferCounts(String(input.transferId)) };
    default:
      throw new Error(`the test has no answer for ${activity}`);
  }
}

function eventAnswer(activity: string, given: Record<string, Json>, madeBefore: number, attempt: number): Answer {
  const data = (given.data ?? {}) as Record<string, Json>;
  if (failsNow(String(data.fails), JSON.stringify(given))) return failed(String(data.as));
  if (data.fails === 'once' && attempt === 1) return { ...failed('unavailable'), flaky: true };
  return {
    output:
      activity === 'audit.write@1'
        ? { event: given.event! }
        : { messageId: `msg_${hashOf(JSON.stringify(given))}`, webhooks: madeBefore + 1 },
  };
}

function pathAnswer(path: string): Answer {
  const [, fails, kind] = path.split('/');
  return failsNow(fails!, path) ? failed(kind!) : { output: { path: `/after${path}` } };
}

function failsNow(fails: string, input: string): boolean {
  return fails === 'always' || (fails === 'some' && hashOf(input) % 3 === 0);
}

function failed(kind: string): { failure: Failure } {
  // One message for each kind: which of several parallel failures is the first is not the interpreter's to decide.
  const message = `the test says ${kind}`;
  return { failure: { kind: kind as ErrorKind, message, step: null, endpoint: null, path: null } };
}

/** `/list/3/n7/*` holds three files. */
function listing(path: string): Json {
  const count = Number(path.split('/')[2]);
  const rows = page(path, 0, count) as Json[];
  return { files: { ref: path, count, bytes: count * 10, head: rows }, count, bytes: count * 10 };
}

function page(ref: string, after: number, limit: number): Json {
  const count = Number(ref.split('/')[2]);
  const last = Math.min(count, after + limit);
  return Array.from({ length: Math.max(0, last - after) }, (_, index) => {
    const name = `file-${after + index}`;
    return { endpoint: 'acme-sftp', path: ref.replace('*', name), name, size: 10, modified: null };
  });
}

/** `/copy/6/3/invalid/n9/*`: six files in three batches; a batch that fails fails all its files with that kind. */
function transferPlan(path: string, stepKey: string): Json {
  const [, , files, batches, fails, kind] = path.split('/');
  const sibling = path.includes('loose') ? 'loose' : 'test';
  const transferId = [stepKey, files, batches, fails, kind, sibling, hashOf(path)].join('|');
  return { transferId, files: Number(files), bytes: Number(files) * 10, batches: Number(batches) };
}

function batch(transferId: string, index: number): Answer {
  const { files, kind, fails } = transferFacts(transferId);
  const failure = failed(kind).failure;
  if (fails === 'batch' && index === 0) return { failure };
  const isFailing = fails === 'file' && index === 0;
  return {
    output: {
      files: files - (isFailing ? 1 : 0),
      bytes: files * 10,
      skipped: 0,
      failed: isFailing ? 1 : 0,
      firstFailure: isFailing ? (failure as unknown as Json) : null,
    },
  };
}

function transferCounts(transferId: string): Json {
  const { files, batches, fails, kind } = transferFacts(transferId);
  const failedFiles = fails === 'batch' ? files : fails === 'file' ? 1 : 0;
  return {
    files: files * batches - failedFiles,
    bytes: (files * batches - failedFiles) * 10,
    skipped: 0,
    failed: failedFiles,
    firstFailure: failedFiles === 0 ? null : (failed(kind).failure as unknown as Json),
  };
}

/** `files` is that of one batch. */
function transferFacts(transferId: string) {
  const [stepKey, files, batches, fails, kind] = transferId.split('|') as [string, string, string, string, string];
  return { stepKey, files: Number(files) / Math.max(1, Number(batches)), batches: Number(batches), fails, kind };
}

function pathOf(location: Json | undefined): string {
  const { path, glob } = location as { path?: string; glob?: string };
  return (path ?? glob)!;
}

import { noteWhenHeld } from '../limits/heldBatch.ts';
import type { ActivityContext, TransferDependencies } from './context.ts';
import { type BatchInput, copyBatch } from './copyBatch.ts';
import { deleteFile, type FilesInput, fileSetPage, listFiles, moveFile } from './files.ts';
import { type FinishInput, finishTransfer } from './finishTransfer.ts';
import { type PlanInput, planTransfer } from './planTransfer.ts';

export type { ActivityContext, TransferDependencies } from './context.ts';

/** The work on files, over its dependencies. Each is safe twice, and runs under Temporal or without it. */
export function createTransferWork(dependencies: TransferDependencies) {
  return {
    planTransfer: (input: PlanInput, context: ActivityContext) => planTransfer(dependencies, input, context),
    copyBatch: (input: BatchInput, context: ActivityContext) =>
      noteWhenHeld(dependencies.store, input, () => copyBatch(dependencies, input, context)),
    finishTransfer: (input: FinishInput) => finishTransfer(dependencies, input),
    listFiles: (input: FilesInput, context: ActivityContext) => listFiles(dependencies, input, context),
    fileSetPage: (input: Parameters<typeof fileSetPage>[1]) => fileSetPage(dependencies, input),
    moveFile: (input: FilesInput, context: ActivityContext) => moveFile(dependencies, input, context),
    deleteFile: (input: FilesInput, context: ActivityContext) => deleteFile(dependencies, input, context),
  };
}

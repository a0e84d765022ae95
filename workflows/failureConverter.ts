import { DefaultFailureConverter } from '@temporalio/common';

/**
 * Messages and stack traces of failures go where payloads go, and so through the codec: without it Temporal keeps them in
 * clear. Loaded by its path, by the worker, by clients and by the workflow bundle.
 */
export const failureConverter = new DefaultFailureConverter({ encodeCommonAttributes: true });

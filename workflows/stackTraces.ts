/**
 * Loaded once for all runs of a worker, before the sandbox is frozen. The SDK takes a stack trace of every promise that a
 * workflow makes, source map included, which took two thirds of a run's time. One frame is enough to name the place of a
 * fault, and the rest is to be had by replaying the history.
 */
Error.stackTraceLimit = 1;

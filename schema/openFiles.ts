/** What to do when a process or its machine can open no more files or connections; nothing at the other end helps. */
export const raiseOpenFiles =
  'Raise the limit of open files of the worker (ulimit -n, LimitNOFILE), or lower limits.concurrency of the endpoints.';

/** What the operating system means by that code, or undefined for another. */
export function outOfOpenFiles(code: string | undefined): string | undefined {
  if (code === 'EMFILE') return 'too many open files in the worker';
  return code === 'ENFILE' ? 'too many open files on the machine' : undefined;
}

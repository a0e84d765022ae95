import pino from 'pino';
import type { Log } from '../connectors/contract.ts';

/** Structured log of a service, on stderr. Keys that may hold a credential are removed, whatever put them there. */
export function createLog(service: string, level: 'debug' | 'info' | 'warn' | 'error'): Log {
  return pino(
    {
      base: { service, pid: process.pid },
      level,
      redact: {
        paths: [
          'password',
          'passphrase',
          'privateKey',
          'secret',
          'authorization',
          '*.password',
          '*.passphrase',
          '*.privateKey',
          '*.secret',
          '*.authorization',
        ],
        remove: true,
      },
    },
    pino.destination({ dest: 2, sync: true }),
  );
}

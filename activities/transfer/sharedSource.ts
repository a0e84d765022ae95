import type { OpenOptions, Source, Version } from '../../connectors/contract.ts';
import { isSameVersion } from '../../connectors/temporary.ts';
import type { Buffers } from './buffers.ts';
import { unlessAborted } from './gate.ts';
import { createSharedReads, type SharedReads } from './sharedReads.ts';

/** The place of one copy among those that read the same file. */
export interface Seat {
  /** Opens that version; `close` gives up the seat. Throws what the connector throws. */
  open(version: Version, signal: AbortSignal): Promise<Source>;
  /** Nobody has to wait for this one any more. To be called in any case; safe twice. */
  leave(): Promise<void>;
}

export interface SharedSourceOptions {
  readers: number;
  blockBytes: number;
  readsInFlight: number;
  buffers: Pick<Buffers, 'reserveNow'>;
  open(options: OpenOptions, signal: AbortSignal): Promise<Source>;
}

/**
 * One file that several copies read at about the same time (see `createSharedReads`): opened by the first, closed when the
 * last seat is left. A copy that wants another version than the first opens the file for itself. That opening failed for
 * one says nothing to the others: the next one tries again.
 */
export function createSharedSource(options: SharedSourceOptions): Seat[] {
  const { readers } = options;
  const stopped = new AbortController();
  let seated = readers;
  let opening: Promise<SharedFile> | null = null;

  async function openShared(version: Version): Promise<SharedFile> {
    const source = await options.open({ ifMatch: version }, stopped.signal);
    return { source, version, reads: createSharedReads(source, { ...options, signal: stopped.signal }) };
  }

  async function shut(): Promise<void> {
    stopped.abort(new Error('nobody reads any more'));
    const file = await opening?.catch(() => null);
    await file?.reads.end();
    await file?.source.close();
  }

  function seat(number: number): Seat {
    let isLeft = false;

    async function leave(): Promise<void> {
      if (isLeft) return;
      isLeft = true;
      const last = --seated === 0;
      (await opening?.catch(() => null))?.reads.leave(number);
      if (last) await shut();
    }

    return {
      leave,
      async open(version, signal) {
        if (isLeft) return options.open({ ifMatch: version }, signal);
        opening ??= openShared(version);
        const attempt: Promise<SharedFile> = opening;
        attempt.catch(() => {
          if (opening === attempt) opening = null;
        });
        const found = await unlessAborted(attempt, signal);
        if (!isSameVersion(found.version, version)) {
          await leave();
          return options.open({ ifMatch: version }, signal);
        }
        found.reads.arrive(number);
        return {
          size: found.source.size,
          version: found.source.version,
          read: (bytes, at, aborted) => found.reads.read(number, bytes, at, aborted),
          close: leave,
        };
      },
    };
  }

  return Array.from({ length: readers }, (_, number) => seat(number));
}

interface SharedFile {
  source: Source;
  version: Version;
  reads: SharedReads;
}

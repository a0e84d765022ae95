import { orCancelled, throwIfCancelled } from '../../network/cancellation.ts';
import { WaybillError } from '../../schema/errors.ts';
import type { SftpConnection } from './connection.ts';
import { filesPerConnection } from './settings.ts';

/** A share in a connection, held while a file is open. */
export interface Lease {
  connection: SftpConnection;
  /** Safe twice. */
  release(): void;
}

interface Slot {
  opening: Promise<SftpConnection>;
  connection: SftpConnection | undefined;
  load: number;
}

/** Opens a connection; `onEnd` is to be called once when it dies. */
export type Opener = (onEnd: () => void, signal: AbortSignal) => Promise<SftpConnection>;

/**
 * Up to `limit` connections, opened when they are needed and forgotten when they die; the next call then opens another.
 * A server that refuses a second connection gets all files over the first.
 */
export class ConnectionPool {
  readonly #open: Opener;
  readonly #slots = new Set<Slot>();
  readonly #closing = new AbortController();
  #limit: number;

  constructor(limit: number, open: Opener) {
    this.#limit = limit;
    this.#open = open;
  }

  async lease(signal: AbortSignal): Promise<Lease> {
    throwIfCancelled(signal);
    throwIfCancelled(this.#closing.signal);
    const slot = this.#choose();
    slot.load++;
    try {
      return leaseOf(slot, await orCancelled(slot.opening, signal));
    } catch (error) {
      slot.load--;
      throwIfCancelled(signal);
      if (!this.#hasAlive()) throw error;
      this.#limit = this.#slots.size;
      return this.lease(signal);
    }
  }

  /** Runs `work` on a connection; the share ends with it. */
  async use<Value>(signal: AbortSignal, work: (connection: SftpConnection) => Promise<Value>): Promise<Value> {
    const { connection, release } = await this.lease(signal);
    try {
      return await work(connection);
    } finally {
      release();
    }
  }

  /** Some live connection, to look at, or undefined. */
  get sample(): SftpConnection | undefined {
    for (const { connection } of this.#slots) if (connection?.isAlive) return connection;
    return undefined;
  }

  async close(): Promise<void> {
    this.#closing.abort(new WaybillError('unavailable', 'the endpoint was closed'));
    const slots = [...this.#slots];
    this.#slots.clear();
    await Promise.all(
      slots.map(({ opening }) =>
        opening.then(
          (connection) => connection.close(),
          () => {},
        ),
      ),
    );
  }

  #choose(): Slot {
    let best: Slot | undefined;
    for (const slot of this.#slots) if (best === undefined || slot.load < best.load) best = slot;
    if (best && (best.load < filesPerConnection || this.#slots.size >= this.#limit)) return best;
    return this.#openSlot();
  }

  #openSlot(): Slot {
    const forget = () => this.#slots.delete(slot);
    const slot: Slot = { opening: this.#open(forget, this.#closing.signal), connection: undefined, load: 0 };
    this.#slots.add(slot);
    slot.opening.then((connection) => {
      slot.connection = connection;
    }, forget);
    return slot;
  }

  #hasAlive(): boolean {
    return this.sample !== undefined;
  }
}

function leaseOf(slot: Slot, connection: SftpConnection): Lease {
  let isHeld = true;
  return {
    connection,
    release: () => {
      if (isHeld) slot.load--;
      isHeld = false;
    },
  };
}

import { readFileSync } from 'node:fs';

/** Filesystems on disks and in the memory of the machine itself. All others may have a server that does not answer. */
const ofThisMachine = new Set(['ext2', 'ext3', 'ext4', 'xfs', 'btrfs', 'f2fs', 'zfs', 'bcachefs', 'tmpfs', 'overlay']);
/** What a call may take in the long run, and how far it may be behind that before it is waited for elsewhere, and for how long. */
const usualMs = 0.5;
const patienceMs = 50;
const impatientMs = 5_000;
/** Mounts come and go while we run. */
const mountsKnownMs = 10_000;

/**
 * Where the calls to the filesystem of a root are waited for. Looking at an entry, opening what is there, facts, times,
 * small pieces to and from the system's memory, and closing take microseconds, which a trip to another thread and back costs
 * tenfold: they are made on JavaScript's own thread. It stands still meanwhile, so that is done only where no server can fail
 * to answer, and not while the disk is slow. What waits for the disk in the usual course (making, renaming, removing,
 * syncing, large pieces) is never done there.
 */
export class Disk {
  readonly #mounts: () => string;
  #root: string | undefined;
  #isNear = false;
  #lookedAtMs = Number.NEGATIVE_INFINITY;
  #behindMs = 0;
  #slowUntilMs = Number.NEGATIVE_INFINITY;

  /** `mounts` gives what mount points there are, as Linux writes them; it may throw. */
  constructor(mounts: () => string = readMounts) {
    this.#mounts = mounts;
  }

  /** What follows concerns this folder (a real path) and what is below it. Before that nothing is asked here. */
  isAt(root: string): void {
    this.#root = root;
  }

  /** Whether it answers at once, as far as can be known. */
  answersAtOnce(): boolean {
    if (this.#root === undefined) return false;
    const nowMs = performance.now();
    if (nowMs < this.#slowUntilMs) return false;
    if (nowMs - this.#lookedAtMs > mountsKnownMs) {
      this.#lookedAtMs = nowMs;
      this.#isNear = isOfThisMachine(this.#root, this.#mounts);
    }
    return this.#isNear;
  }

  /** Asks `now` when the answer is there at once, else `later`. Throws and rejects with what they do. */
  ask<Answer>(now: () => Answer, later: () => Promise<Answer>): Answer | Promise<Answer> {
    if (!this.answersAtOnce()) return later();
    const startedMs = performance.now();
    try {
      return now();
    } finally {
      this.took(performance.now() - startedMs);
    }
  }

  /** One call took so long on JavaScript's thread. A few slow ones are a busy machine; many, or a very slow one, a busy disk. */
  took(durationMs: number): void {
    this.#behindMs = Math.max(0, this.#behindMs + durationMs - usualMs);
    if (this.#behindMs <= patienceMs) return;
    this.#behindMs = 0;
    this.#slowUntilMs = performance.now() + impatientMs;
  }
}

/** Whether the folder and all mounts below it are of this machine; false where the system does not say. */
function isOfThisMachine(root: string, mounts: () => string): boolean {
  let text: string;
  try {
    text = mounts();
  } catch {
    return false;
  }
  let above: { point: string; type: string } | undefined;
  for (const line of text.split('\n')) {
    const mount = readMount(line);
    if (mount === undefined) continue;
    if (isWithin(mount.point, root) && mount.point !== root && !ofThisMachine.has(mount.type)) return false;
    // Of two at one point the later one lies above the other.
    if (isWithin(root, mount.point) && mount.point.length >= (above?.point.length ?? 0)) above = mount;
  }
  return above !== undefined && ofThisMachine.has(above.type);
}

/** `36 35 98:0 /mnt1 /mnt/parent rw,noatime master:1 - ext4 /dev/root rw`: the point is the fifth word, the type follows the dash. */
function readMount(line: string): { point: string; type: string } | undefined {
  const [facts = '', source = ''] = line.split(' - ');
  const point = facts.split(' ')[4];
  const type = source.split(' ')[0];
  if (point === undefined || type === undefined || type === '') return undefined;
  return { point: point.replace(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8))), type };
}

function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder === '/' ? folder : `${folder}/`);
}

function readMounts(): string {
  return readFileSync('/proc/self/mountinfo', 'utf8');
}

import { WaybillError } from '../../schema/errors.ts';
import { type Branch, filesAt } from './branches.ts';
import { limits } from './context.ts';
import { fail } from './copyFailure.ts';
import { type Copy, type SharedWork, startCopy } from './copyWork.ts';
import { deliver } from './delivery.ts';
import { createGate, createSharedPlace, type Gate } from './gate.ts';
import { startPulse } from './pulse.ts';
import { createSharedSource, type Seat } from './sharedSource.ts';
import { type Member, type SourceFile, settleSource } from './sourceFile.ts';

interface Batch {
  shared: SharedWork;
  branches: readonly Branch[];
  /** Files at the source at a time, however many targets they have. */
  sourceGate: Gate;
  /** Deliveries that another run copies at this moment. */
  busy: Array<{ file: SourceFile; member: Member }>;
}

/** Copies the files of a batch to the targets that are open, and disposes of their sources. What failed is in the branches and in the ledger. */
export async function copyFiles(
  shared: SharedWork,
  files: readonly SourceFile[],
  branches: readonly Branch[],
): Promise<void> {
  const sourceGate = createGate(filesAt(shared.source));
  const batch: Batch = { shared, branches, sourceGate, busy: [] };
  const pulses = branches.flatMap(({ work, inFlight }) => (work === null ? [] : [startPulse(work, inFlight)]));
  try {
    await copyAll(files, batch);
    await copyBusy(batch);
  } finally {
    await Promise.all(pulses.map((pulse) => pulse.stop()));
  }
}

/** Many files side by side: more of small ones than talk to the endpoints, since those also wait for the ledger. */
async function copyAll(files: readonly SourceFile[], batch: Batch): Promise<void> {
  const queue = files.values();
  const targets = batch.shared.options.targets.length;
  const bytes = files.reduce((sum, { members }) => sum + members[0]!.row.sourceSize, 0);
  const isSmall = bytes <= files.length * limits.smallFileBytes;
  const large = Math.max(1, ...batch.branches.map(({ work }) => work?.filesGate.width ?? 1));
  const many = isSmall ? Math.ceil(limits.smallFilesInFlight / targets) : Math.min(large, batch.sourceGate.width);
  const left: Array<Promise<void>> = [];
  async function lane(): Promise<void> {
    for (const file of queue) {
      if (isOver(batch)) return;
      const copied = copyFile(file, batch);
      if (targets === 1) await copied;
      else {
        left.push(copied);
        // One slow target must not keep the others from the next files.
        await Promise.race([copied, pause(limits.sharedWaitMs, batch.shared.context.signal)]);
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(many, files.length) }, lane));
  await Promise.all(left);
}

function isOver({ branches, shared }: Batch): boolean {
  const opened = branches.flatMap(({ work }) => (work === null ? [] : [work]));
  return shared.context.signal.aborted || (opened.length > 0 && opened.every(({ stop }) => stop !== null));
}

async function copyFile(file: SourceFile, batch: Batch): Promise<void> {
  const isOneOfMany = batch.shared.options.targets.length > 1;
  const members = file.members.filter(
    ({ branch, row }) => branch.work?.stop === null && !(isOneOfMany && row.state === 'published'),
  );
  const sourceGate = createSharedPlace([batch.sourceGate, batch.shared.source.settings.gate]);
  const seats = seatsFor(members, batch);
  const copies = members.map(async (member, index) => {
    const seat = seats[index] ?? null;
    member.copy = startCopy(batch.shared, member.row, { ...(isOneOfMany && { sourceGate }), seat });
    await copyOne(file, member, batch);
  });
  await Promise.all(copies);
  if (isOneOfMany) await settle(file, batch);
}

/** For those that will read the file: it is read once for all of them. */
function seatsFor(members: readonly Member[], { shared }: Batch): Seat[] {
  const [first] = members;
  if (first === undefined || members.length < 2 || first.row.sourceSize === 0) return [];
  const { connector } = shared.source;
  const { blockBytes, readsInFlight } = connector.capabilities;
  return createSharedSource({
    readers: members.length,
    blockBytes,
    readsInFlight,
    buffers: shared.dependencies.buffers,
    open: (options, signal) => connector.open(first.row.sourcePath, options, signal),
  });
}

async function copyOne(file: SourceFile, member: Member, batch: Batch): Promise<void> {
  const { branch } = member;
  const copy = member.copy!;
  branch.inFlight.add(copy);
  try {
    if ((await deliver(branch.work!, copy)) === 'busy') batch.busy.push({ file, member });
  } catch (error) {
    await fail(batch.shared, copy, branch, batch.branches, error);
  } finally {
    await leave(branch, copy);
  }
}

/** What waits for the other targets before it is written down keeps its claim meanwhile. */
async function leave({ inFlight, work }: Branch, copy: Copy): Promise<void> {
  if (copy.skipped === null) inFlight.delete(copy);
  else copy.waiting = true;
  await copy.seat?.leave().catch((error: unknown) => {
    work!.dependencies.log.debug({ error: String(error) }, 'the source could not be closed');
  });
}

async function settle(file: SourceFile, { shared, branches }: Batch): Promise<void> {
  const told = (member: Member, error: unknown) => fail(shared, member.copy!, member.branch, branches, error);
  try {
    await settleSource(shared, file, told);
  } catch (error) {
    const begun = file.members.find(({ copy }) => copy !== null);
    if (begun === undefined) throw error;
    await told(begun, error);
  }
}

/** Looks again, until the other runs are done with our files, or have given them up. */
async function copyBusy(batch: Batch): Promise<void> {
  const { context, dependencies, source } = batch.shared;
  const { clock } = dependencies;
  const deadlineMs = clock.now().getTime() + limits.busyWaitMs;
  while (batch.busy.length > 0 && !isOver(batch)) {
    const busy = batch.busy.splice(0).filter(({ member }) => member.branch.work!.stop === null);
    if (clock.now().getTime() > deadlineMs) {
      const message = `another run has been copying this file for more than ${limits.busyWaitMs / 60_000} minutes`;
      for (const { member } of busy)
        member.branch.postponed ??= new WaybillError('conflict', message, {
          endpoint: source.name,
          path: member.row.sourcePath,
        });
      return;
    }
    await pause(limits.busyPollMs, context.signal);
    const gate = createGate(limits.smallFilesInFlight);
    await Promise.all(
      busy.map(async ({ file, member }) => {
        const { signal } = context;
        if (signal.aborted) return;
        const next = await gate.enter(signal).catch(() => null);
        if (next === null) return;
        member.copy = startCopy(batch.shared, member.copy!.row);
        await copyOne(file, member, batch).finally(next);
        if (batch.shared.options.targets.length > 1) await settle(file, batch);
      }),
    );
  }
}

function pause(durationMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(end, durationMs);
    function end() {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    }
    signal.addEventListener('abort', end, { once: true });
  });
}

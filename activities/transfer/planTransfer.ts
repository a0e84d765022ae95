import { type NewEvent, recordEvents } from '../../audit/record.ts';
import { type Location, parseLocation } from '../../language/location.ts';
import type { Sql } from '../../prisma/contract.ts';
import {
  completePlan,
  deleteFileSet,
  findLedgerRun,
  findSharedTarget,
  insertDeliveries,
  type LedgerRun,
  type ListedFile,
  lockTransfer,
  openTransfer,
  type PlannedDelivery,
  plannedTotals,
  type RefusedDelivery,
  readFileSet,
  type TransferRow,
} from '../../prisma/ledger.ts';
import { asWaybillError, WaybillError } from '../../schema/errors.ts';
import type { Json } from '../../schema/plan.ts';
import { createBatches } from './batches.ts';
import { type ActivityContext, limits, type TransferDependencies } from './context.ts';
import { deliveryKey } from './deliveryKey.ts';
import { type EventWriter, eventsOf } from './events.ts';
import { withHeartbeat } from './heartbeat.ts';
import { listingBase, listLocation } from './listing.ts';
import {
  choose,
  conflictRules,
  emptyRules,
  onceRules,
  optionsOf,
  placeBelow,
  readDisposal,
  readSwitch,
  type TransferOptions,
  type TransferTarget,
  verifyRules,
} from './options.ts';
import { readSelection, type Selection } from './selection.ts';
import { stageListing } from './stageListing.ts';
import { readTargets } from './targets.ts';
import { asSourceVersion } from './version.ts';

export interface PlanInput {
  tenantId: string;
  runId: string;
  /** Id of the step, as people know it. */
  step: string;
  /** Path of the step with its loop indexes: one transfer for each, however often the step is planned. */
  stepKey: string;
  /** alias -> endpoint */
  endpoints: Record<string, string>;
  /** The filled `with` of `transfer.copy@1`. */
  with: Record<string, Json>;
}

export interface PlanAnswer {
  transferId: string;
  files: number;
  bytes: number;
  batches: number;
}

/**
 * Lists the source and writes one planned delivery for each file and target, in batches, all in one transaction: a plan is
 * whole or it is not. The deliveries of one file are in one batch. A second call gives the plan that exists. Throws before
 * anything is planned: invalid for bad options and for two source files with one target path (both named), as far as the target tells paths apart, not-found for an absent source and, with `onEmpty: fail`, for a
 * glob that matches nothing. Any other empty listing is 0 files.
 */
export async function planTransfer(
  dependencies: TransferDependencies,
  input: PlanInput,
  context: ActivityContext,
): Promise<PlanAnswer> {
  const { store } = dependencies;
  const { tenantId, runId, step, stepKey } = input;
  const terms = readTerms(input, dependencies.clock.now());
  const { run, transfer } = await store.sql(tenantId, async (sql) => ({
    run: await findLedgerRun(sql, tenantId, runId),
    transfer: await openTransfer(sql, tenantId, {
      runId,
      step,
      stepKey,
      sourceEndpoint: terms.from.endpoint,
      targetEndpoint: terms.options.targets[0]!.endpoint,
      options: terms.options,
    }),
  }));
  if (transfer.planned) return answer(dependencies, tenantId, transfer.id);
  let listed = 0;
  await withHeartbeat(
    context,
    () => ({ listed }),
    async () => {
      const setId = await stageSource(dependencies, input, terms, context.signal, (count) => {
        listed = count;
      });
      if (listed === 0 && terms.onEmpty === 'fail')
        throw new WaybillError('not-found', `no file matches ${terms.from.glob ?? terms.from.path}`, {
          endpoint: terms.from.endpoint,
        });
      const endpoints = await caseRules(dependencies, tenantId, terms.options.targets);
      const work = { tenantId, runId, run, transferId: transfer.id, setId, endpoints };
      await store.sql(tenantId, (sql) => writePlan(sql, work));
    },
  );
  return answer(dependencies, tenantId, transfer.id);
}

/** Target endpoint -> whether it tells upper and lower case apart. */
async function caseRules(
  { endpoints }: TransferDependencies,
  tenantId: string,
  targets: readonly TransferTarget[],
): Promise<Map<string, boolean>> {
  const rules = new Map<string, boolean>();
  for (const { endpoint } of targets)
    if (!rules.has(endpoint)) rules.set(endpoint, (await endpoints.capabilities(tenantId, endpoint)).caseSensitive);
  return rules;
}

interface PlanTerms {
  from: Location;
  options: TransferOptions;
  selection: Selection;
  onEmpty: (typeof emptyRules)[number];
}

function readTerms({ with: given, endpoints }: PlanInput, now: Date): PlanTerms {
  const from = parseLocation(given.from ?? null, endpoints);
  if (from.path?.endsWith('/'))
    throw new WaybillError('invalid', '`from` names a folder; name a file, or a glob such as *', { field: 'from' });
  const once = choose(given, 'once', onceRules);
  const options: TransferOptions = {
    onConflict: choose(given, 'onConflict', conflictRules),
    once,
    verify: choose(given, 'verify', verifyRules),
    then: readDisposal(given.then, from.glob !== null),
    recheck: readSwitch(given, 'recheck'),
    base: listingBase(from),
    targets: readTargets(given.to, { endpoints, manyFiles: from.glob !== null, once }),
  };
  if (from.path !== null) refuseOntoItself(from, options);
  return {
    from,
    options,
    selection: readSelection(given, from.endpoint, now),
    onEmpty: choose(given, 'onEmpty', emptyRules),
  };
}

function refuseOntoItself(from: Location, { base, then, targets }: TransferOptions): void {
  const path = from.path!;
  if (targets.some(({ endpoint, to }) => endpoint === from.endpoint && placeBelow(to, path, base) === path))
    throw new WaybillError('invalid', 'source and target are the same file', { endpoint: from.endpoint, path });
  if (then !== null && 'move' in then && placeBelow(then.move, path, base) === path)
    throw new WaybillError('invalid', '`then.move` names the source itself', { endpoint: from.endpoint, path });
}

/**
 * Lists into the ledger. What earlier runs moved aside or delivered into a folder below the glob is left out: those
 * files would otherwise travel again with every run.
 */
async function stageSource(
  dependencies: TransferDependencies,
  { tenantId, runId }: PlanInput,
  { from, options, selection }: PlanTerms,
  signal: AbortSignal,
  onFiles: (count: number) => void,
): Promise<string> {
  const outputs: string[] = [];
  if (from.glob !== null && options.then !== null && 'move' in options.then) outputs.push(options.then.move);
  if (from.glob !== null)
    outputs.push(...options.targets.filter(({ endpoint }) => endpoint === from.endpoint).map(({ to }) => to));
  const isOutput = (path: string) => outputs.some((folder) => path.startsWith(folder));
  const inputs = { ...selection, takesPath: (path: string) => !isOutput(path) && selection.takesPath(path) };
  return dependencies.endpoints.use(tenantId, from.endpoint, (connector) =>
    stageListing(
      dependencies,
      { tenantId, runId, endpoint: from.endpoint, order: null },
      listLocation(connector, from, inputs, signal),
      onFiles,
    ),
  );
}

interface PlanWork {
  tenantId: string;
  runId: string;
  run: LedgerRun;
  transferId: string;
  setId: string;
  /** Those of the targets, and whether they tell upper and lower case apart. */
  endpoints: ReadonlyMap<string, boolean>;
}

async function writePlan(sql: Sql, work: PlanWork): Promise<void> {
  const { tenantId, runId, run, transferId, setId } = work;
  const transfer = await lockTransfer(sql, tenantId, transferId);
  if (!transfer.planned) {
    const options = optionsOf(transfer);
    const batches = createBatches(options.targets.length);
    const events = eventsOf(run, runId, transferId);
    let after = -1;
    for (;;) {
      const page = await readFileSet(sql, tenantId, { setId, after, limit: limits.pageRows });
      if (page.length === 0) break;
      after = page.at(-1)!.ordinal;
      const rows = page.flatMap((file) => {
        const batch = batches.place(file.size);
        return options.targets.map((_, target) =>
          planDelivery(file, { tenantId, run, transfer, options, batch, target }),
        );
      });
      const refused = await insertDeliveries(sql, tenantId, transfer, rows);
      await recordEvents(
        sql,
        tenantId,
        refused.map((row) => refusal(row, transfer, events)),
      );
    }
    await refuseSharedTarget(sql, transfer, work);
    await completePlan(sql, tenantId, transferId, batches.count());
    const totals = await plannedTotals(sql, tenantId, transferId);
    const { step, sourceEndpoint, targetEndpoint } = transfer;
    const event = events.transfer('transfer.started', transferId, {
      step,
      sourceEndpoint,
      targetEndpoint,
      ...totals,
    });
    await recordEvents(sql, tenantId, [event]);
  }
  await deleteFileSet(sql, tenantId, setId);
}

function refusal(row: RefusedDelivery, transfer: TransferRow, events: EventWriter): NewEvent {
  return events.delivery('delivery.failed', row, {
    source: { endpoint: transfer.sourceEndpoint, path: row.sourcePath },
    target: { endpoint: row.targetEndpoint, path: row.targetPath },
    delivered: false,
    kind: row.kind,
    message: row.message,
  });
}

interface PlannedPlace {
  tenantId: string;
  run: LedgerRun;
  transfer: TransferRow;
  options: TransferOptions;
  batch: number;
  /** position in `options.targets` */
  target: number;
}

function planDelivery(
  file: ListedFile,
  { tenantId, run, transfer, options, batch, target }: PlannedPlace,
): PlannedDelivery {
  const { base, once } = options;
  const { to, endpoint: targetEndpoint } = options.targets[target]!;
  const source = { sourcePath: file.path, ...asSourceVersion(file) };
  try {
    const targetPath = placeBelow(to, file.path, base);
    const { sourceEndpoint } = transfer;
    const identity = { tenantId, pipeline: run.pipelineName, sourceEndpoint, ...source, targetEndpoint, targetPath };
    return {
      batch,
      target,
      targetEndpoint,
      ...source,
      targetPath,
      deliveryKey: deliveryKey(identity, once),
      refusal: null,
    };
  } catch (error) {
    // One name that the target cannot have must not keep the others from travelling: it fails alone, and says why.
    const { kind, message } = asWaybillError(error);
    const identity = { tenantId, pipeline: '', sourceEndpoint: '', ...source, targetEndpoint: '', targetPath: '' };
    return {
      batch,
      target,
      targetEndpoint,
      ...source,
      targetPath: `${to}${file.path}`,
      deliveryKey: deliveryKey(identity, 'off'),
      refusal: { kind, message },
    };
  }
}

async function refuseSharedTarget(sql: Sql, { id }: TransferRow, { tenantId, endpoints }: PlanWork): Promise<void> {
  for (const [endpoint, caseSensitive] of endpoints) {
    const shared = await findSharedTarget(sql, tenantId, id, { endpoint, caseSensitive });
    if (shared === undefined) continue;
    const { one, other, targetPath } = shared;
    const why = caseSensitive ? '' : ', since the target tells neither upper and lower case nor forms of Unicode apart';
    const message =
      one === other
        ? `${one} would become ${targetPath} by two of the targets${why}`
        : `${one} and ${other} would both become ${targetPath}${why}`;
    throw new WaybillError('invalid', message, {
      endpoint,
      path: targetPath,
      advice: 'Rename one of them, or give each a target of its own.',
    });
  }
}

function answer({ store }: TransferDependencies, tenantId: string, transferId: string): Promise<PlanAnswer> {
  return store.sql(tenantId, async (sql) => {
    const transfer = await lockTransfer(sql, tenantId, transferId);
    return { transferId, ...(await plannedTotals(sql, tenantId, transferId)), batches: transfer.batches };
  });
}

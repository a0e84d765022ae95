import { readdir, readFile, writeFile } from 'node:fs/promises';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import type { Json } from '../../schema/plan.ts';
import { startTemporalWorld, type WorldRun } from '../property/temporalWorld.ts';
import { compileText } from '../property/walk.ts';

/**
 * Runs every pipeline of this folder in a real Temporal and writes its history beside it: `node test/histories/record.ts`,
 * or with names (`parallel wait`) only those. A history that is there stays as it is, since it stands for runs that are in
 * flight when a new version comes: record new features; record an old one again only when its runs may break.
 */
const folder = new URL('./', import.meta.url);
const wanted = process.argv.slice(2);
const operators: Record<string, WorldRun['operator']> = {
  cancelled: { call: 2, does: 'cancel' },
  paused: { call: 1, does: 'pause and resume' },
};

/** Its last history begins with what another has left. */
const continued = 'continued';

const names = (await readdir(folder)).filter((name) => name.endsWith('.yaml')).map((name) => name.replace('.yaml', ''));
const known = new Set((await readdir(folder)).filter((name) => name.endsWith('.json')));
const missing = names.filter((name) => (wanted.length > 0 ? wanted.includes(name) : !known.has(`${name}.json`)));
const world = await startTemporalWorld();
try {
  for (const name of missing) {
    const plan = compileText(await readFile(new URL(`${name}.yaml`, folder), 'utf8'));
    const workflowId = `tenant/${plan.pipeline}/recorded`;
    const operator = operators[name];
    const inputs = Object.fromEntries(
      Object.entries(plan.inputs).map(([input, { default: value }]) => [input, value ?? null]),
    );
    const bundle = name === continued ? ('suspending' as const) : ('product' as const);
    const waits = plan.concurrency !== null;
    const { end, calls, histories } = await world.run({
      workflowId,
      bundle,
      plan,
      inputs,
      waits,
      ...(operator && { operator }),
    });
    if (name === continued && histories < 2) throw new Error(`${name} did not go on in a second history`);
    const history = JSON.parse(historyToJSON(await world.history(workflowId))) as Json;
    await writeFile(new URL(`${name}.json`, folder), `${JSON.stringify(withoutPlaces(history))}\n`);
    process.stdout.write(`${name}: ${calls.length} calls, ${JSON.stringify(end)}\n`);
  }
} finally {
  await world.stop();
}

/** Stack traces name folders of the machine that recorded them; no replay looks at them. */
function withoutPlaces(value: Json): Json {
  if (Array.isArray(value)) return value.map(withoutPlaces);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key]) => key !== 'stackTrace')
      .map(([key, item]) => [key, withoutPlaces(item)]),
  );
}

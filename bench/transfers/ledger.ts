import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { median, timed } from '../benchmark.ts';
import { emptied, makeSmall, memoryFolder } from './files.ts';
import { type Bench, copyPipeline, localEndpoint, type Part } from './part.ts';

const fileBytes = 10;
const manyTimes = 10;

/** Files so small that what they cost is planning, claiming, settling and telling of them. Few before and after many: the ledger has grown by then. */
export const ledger: Part = {
  name: 'ledger',
  summary: 'cost of a file in a run of 100,000 tiny ones, beside one in a run of 10,000',
  diskBytes: () => 0,
  async measure(bench) {
    const few = bench.quick ? 1_000 : 10_000;
    const home = await mkdtemp(join(memoryFolder(), 'waybill-bench-'));
    try {
      await makeSmall(join(home, 'few'), few, fileBytes);
      await makeSmall(join(home, 'many'), few * manyTimes, fileBytes);
      await bench.apply(documents(home));
      const costs = { few: [] as number[], many: [] as number[] };
      await cost(bench, home, 'few', few);
      costs.few.push(await cost(bench, home, 'few', few));
      costs.many.push(await cost(bench, home, 'many', few * manyTimes));
      for (let round = 0; round < 2; round++) costs.few.push(await cost(bench, home, 'few', few));
      return [{ name: 'ledger', ours: median(costs.many), peer: median(costs.few), unit: 'ms a file, many/few' }];
    } finally {
      await rm(home, { recursive: true, force: true });
    }
  },
};

function documents(home: string): string[] {
  const endpoints = { here: 'ledger-from', there: 'ledger-to' };
  return [
    localEndpoint(endpoints.here, home),
    localEndpoint(endpoints.there, join(home, 'to')),
    ...['few', 'many'].map((what) => copyPipeline(`ledger-${what}`, endpoints, `here:/${what}/*`, 'there:/')),
  ];
}

async function cost({ run, say }: Bench, home: string, what: string, files: number): Promise<number> {
  await emptied(join(home, 'to'));
  const ms = await timed(() => run(`ledger-${what}`, files));
  say(`${files} files: ${(ms / files).toFixed(3)} ms each`);
  return ms / files;
}

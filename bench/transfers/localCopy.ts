import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { duel } from './duel.ts';
import { emptied, makeLarge, makeSmall } from './files.ts';
import { type Bench, copyPipeline, localEndpoint, type Part } from './part.ts';
import { perSecond, sizesOf } from './sizes.ts';

const run = promisify(execFile);
const outputBytes = 2 ** 24;

export const localCopy: Part = {
  name: 'local-copy',
  summary: 'between local folders, beside cp and sha256sum: one large file (local-copy), and many small ones',
  diskBytes: (quick) => 3 * sizesOf(quick).largeBytes,
  async measure(bench) {
    const { folder, quick } = bench;
    const { largeBytes, smallFiles, smallBytes, rounds } = sizesOf(quick);
    await makeLarge(join(folder, 'from/large/one.bin'), largeBytes);
    await makeSmall(join(folder, 'from/small'), smallFiles, smallBytes);
    await emptied(join(folder, 'to'));
    const endpoints = { here: 'bench-local-from', there: 'bench-local-to' };
    const pipeline = (what: string) =>
      copyPipeline(`bench-local-${what}`, endpoints, `here:/${what}/*`, `there:/${what}/`);
    await bench.apply([
      localEndpoint(endpoints.here, join(folder, 'from')),
      localEndpoint(endpoints.there, join(folder, 'to')),
      pipeline('large'),
      pipeline('small'),
    ]);
    const large = await compare(bench, 'large', 1, rounds);
    const small = await compare(bench, 'small', smallFiles, rounds);
    return [
      { name: 'local-copy', ...perSecond(largeBytes / 1e6, large.ours, large.peer), unit: 'MB/s' },
      { name: 'local-copy.small', ...perSecond(smallFiles, small.ours, small.peer), unit: 'files/s' },
    ];
  },
};

function compare(bench: Bench, what: string, files: number, rounds: number) {
  const { folder, say } = bench;
  const [from, to, byHand] = [join(folder, 'from', what), join(folder, 'to', what), join(folder, 'by-hand')];
  return duel(
    {
      ours: { clean: () => emptied(to), work: () => bench.run(`bench-local-${what}`, files) },
      peer: {
        clean: () => emptied(byHand),
        async work() {
          await run('cp', ['-r', from, byHand]);
          await run('sh', ['-c', 'sha256sum -- *', '.'], { cwd: join(byHand, what), maxBuffer: outputBytes });
        },
      },
    },
    { rounds, say },
  );
}

import { readdir, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';

/** As `node --cpu-prof` writes it. */
interface CpuProfile {
  nodes: Array<{
    id: number;
    callFrame: { functionName: string; url: string; lineNumber: number };
    children?: number[];
  }>;
  /** microseconds of the monotonic clock */
  startTime: number;
  samples: number[];
  /** microseconds */
  timeDeltas: number[];
}

const linesShown = 25;

/** When our own work was under way, in microseconds of the monotonic clock. */
export interface Window {
  fromUs: number;
  toUs: number;
}

export const monotonicUs = (): number => Number(process.hrtime.bigint() / 1000n);

/**
 * Names the profile of the worker's own thread after the benchmark and gives, as lines, where its time went within the
 * windows: by package or folder, then by function. Natives count for the JavaScript that called them, and what waits for
 * others is idle. The sampling counts real time: on a busy machine some of it is another process's.
 */
export async function hottest(
  folder: string,
  { name, pid, windows }: { name: string; pid: number; windows: readonly Window[] },
): Promise<string[]> {
  // CPU.<day>.<time>.<process>.<thread>.<number>: thread 0 is JavaScript's own.
  const file = (await readdir(folder)).find((entry) => entry.startsWith('CPU.') && entry.includes(`.${pid}.0.`));
  if (file === undefined) return ['the worker left no profile'];
  const kept = join(folder, `${name}.cpuprofile`);
  await rename(join(folder, file), kept);
  const profile = JSON.parse(await readFile(kept, 'utf8')) as CpuProfile;
  const places = new Map<string, number>();
  const functions = new Map<string, number>();
  const add = (sums: Map<string, number>, key: string, us: number) => sums.set(key, (sums.get(key) ?? 0) + us);
  const byId = callers(profile);
  let atUs = profile.startTime;
  let totalUs = 0;
  for (const [index, id] of profile.samples.entries()) {
    const us = profile.timeDeltas[index] ?? 0;
    atUs += us;
    if (!windows.some(({ fromUs, toUs }) => atUs >= fromUs && atUs <= toUs)) continue;
    totalUs += us;
    const { place, called } = byId.get(id)!;
    add(places, place, us);
    if (place !== '(idle)' && place !== '(program)') add(functions, called, us);
  }
  const line = ([key, us]: [string, number]) =>
    `${(us / 1e6).toFixed(2).padStart(8)} s ${((us / totalUs) * 100).toFixed(1).padStart(5)} %  ${key}`;
  const most = (sums: Map<string, number>) => [...sums].sort(([, one], [, other]) => other - one).slice(0, linesShown);
  return [`${kept}: ${(totalUs / 1e6).toFixed(1)} s`, ...most(places).map(line), '---', ...most(functions).map(line)];
}

function callers({ nodes }: CpuProfile): Map<number, { place: string; called: string }> {
  const parents = new Map(nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id] as const)));
  const byId = new Map(nodes.map((node) => [node.id, node]));
  return new Map(
    nodes.map((node) => {
      const { functionName, url, lineNumber } = node.callFrame;
      let owner: typeof node | undefined = node;
      while (owner !== undefined && !owner.callFrame.url.startsWith('file:') && !owner.callFrame.url.startsWith('/'))
        owner = byId.get(parents.get(owner.id)!);
      const isPseudo = functionName.startsWith('(') && functionName !== '(garbage collector)';
      const place =
        isPseudo || functionName === '(garbage collector)' ? functionName : placeOf(owner?.callFrame.url ?? url);
      const at = `${shortened(url)}:${lineNumber + 1}`;
      return [node.id, { place, called: `${functionName || '(anonymous)'} ${at}` }];
    }),
  );
}

/** `node_modules/ssh2`, `activities/transfer`, `node:internal`. */
function placeOf(url: string): string {
  const short = shortened(url);
  if (short.startsWith('node:') || short === '') return short === '' ? '(native)' : 'node itself';
  const words = short.split('/');
  if (words[0] === 'node_modules') return words.slice(0, words[1]?.startsWith('@') ? 3 : 2).join('/');
  return words.slice(0, -1).join('/');
}

function shortened(url: string): string {
  const root = new URL('..', import.meta.url).href;
  return url.replace(root, '').replace(/^.*\/node_modules\//, 'node_modules/');
}

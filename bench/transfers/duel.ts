import { median, timed } from '../benchmark.ts';

export interface Contestant {
  work(): Promise<unknown>;
  /** Before each turn, outside the time: removes what the last one left. */
  clean(): Promise<unknown>;
}

/** Milliseconds of each, medians: in turns, each time beginning with another one, after a first turn that does not count. */
export async function duel<Name extends string>(
  contestants: Record<Name, Contestant>,
  { rounds, say }: { rounds: number; say(message: string): void },
): Promise<Record<Name, number>> {
  const names = Object.keys(contestants) as Name[];
  const times = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<Name, number[]>;
  const turn = async (name: Name): Promise<number> => {
    await contestants[name].clean();
    return timed(() => contestants[name].work());
  };
  for (const name of names) await turn(name);
  for (let round = 0; round < rounds; round++) {
    const from = round % names.length;
    for (const name of [...names.slice(from), ...names.slice(0, from)]) times[name].push(await turn(name));
    say(
      `round ${round + 1} of ${rounds}: ${names.map((name) => `${name} ${times[name].at(-1)!.toFixed(0)} ms`).join(', ')}`,
    );
  }
  return Object.fromEntries(names.map((name) => [name, median(times[name])])) as Record<Name, number>;
}

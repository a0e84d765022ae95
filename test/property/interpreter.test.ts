import { describe, expect, test } from 'vitest';
import { chooseSeed } from '../random.ts';
import { comparable } from './compare.ts';
import { type GeneratedPipeline, generatePipeline, textOf } from './generate.ts';
import { shrink } from './shrink.ts';
import { compile, endOf, Invalid, walkVirtually } from './walk.ts';

/** CI runs at least so many of them. */
const pipelines = 300;
const firstSeed = chooseSeed();
const testTimeoutMs = 120_000;

describe(`${pipelines} generated pipelines, WAYBILL_SEED=${firstSeed}`, () => {
  test('make the same calls and end the same way, however long each call takes', { timeout: testTimeoutMs }, () =>
    forAll(async ({ plan, inputs, seed }) => {
      const one = await walkVirtually(plan, inputs, { seed });
      const other = await walkVirtually(plan, inputs, { seed: seed + 1 });
      expect(comparable(other.port.calls)).toEqual(comparable(one.port.calls));
      expect(endOf(other.walk)).toEqual(endOf(one.walk));
    }),
  );

  test('make the same calls and end the same way, suspended at every possible point', { timeout: testTimeoutMs }, () =>
    forAll(async ({ plan, inputs, seed }) => {
      const whole = await walkVirtually(plan, inputs, { seed });
      for (let at = 1; at <= whole.port.questions; at++) {
        const suspendAt = (question: number) => question === at || question === at + 7;
        const { port, walk } = await walkVirtually(plan, inputs, { seed: seed + at, suspendAt });
        expect(comparable(port.calls), `suspended at question ${at}`).toEqual(comparable(whole.port.calls));
        expect(endOf(walk), `suspended at question ${at}`).toEqual(endOf(whole.walk));
      }
    }),
  );
});

interface Property {
  plan: ReturnType<typeof compile>;
  inputs: GeneratedPipeline['inputs'];
  seed: number;
}

/** Runs a property for every pipeline; of the first that breaks it, the smallest that still does is told. */
async function forAll(property: (subject: Property) => Promise<void>): Promise<void> {
  const breaks = async (candidate: GeneratedPipeline): Promise<Error | null> => {
    try {
      await property({ plan: compile(candidate), inputs: candidate.inputs, seed: candidate.seed });
      return null;
    } catch (error) {
      return error as Error;
    }
  };
  for (let seed = firstSeed; seed < firstSeed + pipelines; seed++) {
    const pipeline = generatePipeline(seed);
    const error = await breaks(pipeline);
    if (error === null) continue;
    if (error instanceof Invalid) throw error;
    const small = await shrink(pipeline, async (candidate) => {
      const again = await breaks(candidate);
      return again !== null && !(again instanceof Invalid);
    });
    const why = (await breaks(small)) ?? error;
    throw new Error(
      `WAYBILL_SEED=${seed} breaks it; inputs ${JSON.stringify(small.inputs)}\n${textOf(small)}\n${why.message}\n${difference(why)}`,
    );
  }
}

/** The lines that only one of the two compared values has. */
function difference(error: Error & { actual?: unknown; expected?: unknown }): string {
  const lines = (value: unknown) => (JSON.stringify(value, null, 1) ?? '').split('\n');
  const [actual, expected] = [lines(error.actual), lines(error.expected)];
  return [
    ...expected.filter((line) => !actual.includes(line)).map((line) => `- ${line}`),
    ...actual.filter((line) => !expected.includes(line)).map((line) => `+ ${line}`),
  ].join('\n');
}

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { copyingPromises } from './conformance/copying.ts';
import { faultPromises } from './conformance/faults.ts';
import { limitPromises } from './conformance/limits.ts';
import { listingPromises } from './conformance/listing.ts';
import { namePromises } from './conformance/names.ts';
import { readingPromises } from './conformance/reading.ts';
import { removingPromises } from './conformance/removing.ts';
import { resumePromises } from './conformance/resume.ts';
import { type ConnectorPromise, eventually, never, type Opened, Random, whyNotProven } from './conformance/steps.ts';
import { writingPromises } from './conformance/writing.ts';

export type { Opened } from './conformance/steps.ts';

const suiteTimeoutMs = 60_000;

const groups: ReadonlyArray<readonly [string, readonly ConnectorPromise[]]> = [
  ['A names', namePromises],
  ['B writing and removing', [...writingPromises, ...removingPromises]],
  ['C reading', readingPromises],
  ['D resuming', resumePromises],
  ['E listing', listingPromises],
  ['F copying and renaming', copyingPromises],
  ['G faults', faultPromises],
  ['H limits', limitPromises],
];

export interface ConformanceOptions {
  open(): Promise<Opened>;
  /** Sentences that the protocol cannot keep, each with the reason why. */
  skip?: Readonly<Record<string, string>>;
  /** What decides the random choices; a failure says the one it had. */
  seed?: number;
}

/**
 * What every connector promises (`connectors/contract.ts`), as sentences, against a real server.
 *
 *     describeConnector('local', { open: async () => ({ connector, close }) });
 *
 * What a connector declares in its capabilities is proven and cannot be skipped; what it does not declare is not asked. A
 * promise that is merely broken is red. In another test runner than vitest this throws.
 */
export function describeConnector(kind: string, options: ConformanceOptions): void {
  const { skip = {}, seed = Date.now() % 2_147_483_647 } = options;
  describe(`connector ${kind}`, { timeout: suiteTimeoutMs }, () => {
    let opened: Opened;
    beforeAll(async () => {
      opened = await options.open();
      // What a server can do is known once it has been reached.
      await opened.connector.check(never());
    }, suiteTimeoutMs);
    afterAll(() => opened?.close(), suiteTimeoutMs);

    test('what the capabilities declare is there', () => expectDeclared(opened));
    for (const [group, promises] of groups)
      describe(group, () => {
        for (const promise of promises)
          test(promise.sentence, (context) => {
            const why = whyNotProven(promise, opened, skip[promise.sentence]);
            if (why !== undefined) context.skip(why);
            return prove(promise, opened, seed);
          });
      });
    // Last of all, since nothing can be asked afterwards.
    test('close, called twice, leaves no connection', async () => {
      await opened.connector.close();
      await opened.connector.close();
      if (opened.openConnections) await eventually(async () => expect(await opened.openConnections!()).toBe(0));
    });
    test('skip names only sentences of this suite, each with a reason', () => {
      const sentences = new Set(groups.flatMap(([, promises]) => promises.map(({ sentence }) => sentence)));
      expect(Object.keys(skip).filter((sentence) => !sentences.has(sentence))).toEqual([]);
      expect(Object.keys(skip).filter((sentence) => skip[sentence]!.trim() === '')).toEqual([]);
    });
  });
}

async function prove({ prove }: ConnectorPromise, opened: Opened, seed: number): Promise<void> {
  try {
    await prove(opened.connector, opened, new Random(seed));
  } catch (error) {
    if (error instanceof Error) error.message = `${error.message}\n(seed: ${seed})`;
    throw error;
  }
}

function expectDeclared({ connector }: Opened): void {
  const { capabilities } = connector;
  if (capabilities.rename) expect(connector.rename, 'rename is declared').toBeDefined();
  if (capabilities.serverCopy) expect(connector.copy, 'serverCopy is declared').toBeDefined();
  for (const name of ['readsInFlight', 'writesInFlight', 'blockBytes', 'filesInFlight'] as const)
    expect(capabilities[name], name).toBeGreaterThan(0);
  if (capabilities.parts !== null) {
    expect(capabilities.parts.bytes, 'parts.bytes').toBeGreaterThan(0);
    expect(capabilities.parts.most, 'parts.most').toBeGreaterThan(0);
  }
}

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { keepingPromises } from './conformance/keeping.ts';
import { readingPromises } from './conformance/reading.ts';
import { eventually, type Opened } from './conformance/steps.ts';
import { writingPromises } from './conformance/writing.ts';

export type { Opened } from './conformance/steps.ts';

const suiteTimeoutMs = 60_000;

/**
 * What every connector promises (`connectors/contract.ts`), as sentences. `skip` names a sentence with the reason why the
 * protocol cannot keep it; a promise that is merely broken is red.
 *
 *     describeConnector('local', { open: async () => ({ connector, close }) });
 */
export function describeConnector(
  kind: string,
  options: { open(): Promise<Opened>; skip?: Readonly<Record<string, string>> },
): void {
  describe(`connector ${kind}`, { timeout: suiteTimeoutMs }, () => {
    const unknown = new Set(Object.keys(options.skip ?? {}));
    let opened: Opened;
    beforeAll(async () => {
      opened = await options.open();
    }, suiteTimeoutMs);
    afterAll(() => opened.close(), suiteTimeoutMs);

    for (const { sentence, prove } of [...writingPromises, ...readingPromises, ...keepingPromises]) {
      unknown.delete(sentence);
      const reason = options.skip?.[sentence];
      test.skipIf(reason !== undefined)(reason ? `${sentence} (skipped: ${reason})` : sentence, () =>
        prove(opened.connector),
      );
    }
    // Last of all, since nothing can be asked afterwards.
    test('close, called twice, leaves no connection', async () => {
      await opened.connector.close();
      await opened.connector.close();
      if (opened.openConnections) await eventually(async () => expect(await opened.openConnections!()).toBe(0));
    });
    test('skip names only sentences of this suite', () => expect([...unknown]).toEqual([]));
  });
}

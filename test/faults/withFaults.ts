import type { Faults } from '../../connectors/conformance/faults.ts';
import type { Opened } from '../../connectors/conformance.ts';

/** What can go wrong somewhere, arranged; `close` ends what was started for it. */
export interface Arranged {
  faults: Faults;
  close(): Promise<void>;
}

/** What was opened for the conformance suite, and what can go wrong there. */
export async function withFaults(opened: Opened, arranging: Promise<Arranged>): Promise<Opened> {
  const { faults, close } = await arranging;
  return {
    ...opened,
    faults,
    async close() {
      await close();
      await opened.close();
    },
  };
}

/**
 * One attempt at a batch in a process of its own: `node test/faults/attemptProcess.ts '{"applicationUrl","batch","attempt","stallMs","leaseMs","journal"}'`.
 * Writes down what it does at its target (`journal.ts`). Ends with 0 and the answer on stdout when nothing is left to try, else with 1 and the failure on stderr.
 */
import { openStore } from '../../prisma/store.ts';
import { attemptOf, openEngine, patient } from '../transfer/world.ts';
import { writeJournal } from './journal.ts';

const { applicationUrl, batch, attempt, stallMs, leaseMs, journal } = JSON.parse(process.argv[2]!);
const store = openStore({ applicationUrl, log: { warn: () => undefined } });
const engine = openEngine(
  store,
  (event, id) => {
    if (event === 'begun' || event === 'published') writeJournal(journal, { attempt, event, id });
  },
  {
    leaseMs,
    onWrite: (event, at, bytes, path) => writeJournal(journal, { attempt, event, at, bytes, path }),
  },
);
const terms = { retry: { ...patient, attempts: null }, stallMs };
try {
  const answer = await engine.work.copyBatch(batch, attemptOf({ attempt, terms }));
  process.stdout.write(JSON.stringify(answer));
} catch (error) {
  process.stderr.write(String(error));
  process.exitCode = 1;
}
await engine.close();
await store.close();

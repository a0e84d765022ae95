/**
 * One attempt at a batch in a process of its own, which kills itself after a durable step:
 * `node test/transfer/copyProcess.ts '{"applicationUrl","batch","step","attempt"}'`.
 */
import { openStore } from '../../prisma/store.ts';
import { attemptOf, openEngine, patient } from './world.ts';

const { applicationUrl, batch, step, attempt } = JSON.parse(process.argv[2]!);
const store = openStore({ applicationUrl, log: { warn: () => undefined } });
const engine = openEngine(store, (taken) => {
  if (taken === step) process.kill(process.pid, 'SIGKILL');
});
await engine.work.copyBatch(batch, attemptOf({ attempt, retry: patient }));
await engine.close();
await store.close();

import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ConnectorDefinition } from '../../connectors/contract.ts';
import { builtInConnectors, createRegistry } from '../../connectors/registry.ts';
import { openS3 } from '../../connectors/s3/connector.ts';
import { readSettings, s3Patience } from '../../connectors/s3/settings.ts';
import { openSftp } from '../../connectors/sftp/connector.ts';
import { type SftpSettings, sftpPatience } from '../../connectors/sftp/settings.ts';
import { createTestDatabase, type TestDatabase } from '../servers/database.ts';
import { addEndpoint, type Engine, openEngine, openWorld } from '../transfer/world.ts';
import { failureOf, type Partner } from './passage.ts';
import { startS3Partner } from './s3Partner.ts';
import { startSftpPartner } from './sftpPartner.ts';

/** So many that what was listed is written down before the listing has come to its end, and that it takes a while. */
const files = 4_000;
const bytesPerSecond = 400_000;
/** Of half a minute each in real life. */
const patienceMs = 2_000;

describe.each([
  ['an SFTP server', 'sftp', startSftpPartner],
  ['an S3 server', 's3', startS3Partner],
] as const)('%s that falls silent', (_, kind, start) => {
  let database: TestDatabase;
  let engine: Engine;
  let partner: Partner;
  beforeAll(async () => {
    [database, partner] = await Promise.all([createTestDatabase(), start()]);
    const registry = createRegistry(builtInConnectors.map((one) => (one.kind === kind ? impatiently(one) : one)));
    engine = openEngine(database.store, undefined, { registry });
  });
  afterAll(async () => {
    await engine?.close();
    await partner?.stop();
    await database?.drop();
  });

  test('while it is listed, or before: timeout in time, nothing is planned, and the next attempt plans all', async () => {
    const { store, tenants } = database;
    const { proxy } = partner;
    const ground = await partner.ground();
    for (let nth = 0; nth < files; nth++) await writeFile(path.join(ground.folder, `order-${nth}.csv`), 'x');
    const world = await openWorld(store, tenants.a, engine);
    const name = `silent-${kind}`;
    await addEndpoint(store, world.tenantId, name, kind, ground.config, ground.secrets);
    world.aliases.silent = name;
    const runId = await world.newRun();
    const plan = () => world.plan(runId, { from: 'silent:/*', to: 'landing:/' });
    const staged = async () =>
      (await store.sql(world.tenantId, (sql) => sql.query('select 1 as one from file_set_item'))).length;
    const expectSilence = async (planning: Promise<unknown>) => {
      expect(await failureOf(planning)).toMatchObject({
        kind: 'timeout',
        scope: 'connection',
        permanent: false,
        context: { endpoint: name },
      });
      expect(await world.deliveries(runId)).toEqual([]);
      expect(await staged()).toBe(0);
    };

    proxy.shape({ bytesPerSecond });
    const planning = plan();
    planning.catch(() => undefined);
    await expect.poll(staged, { timeout: 20_000, interval: 10 }).toBeGreaterThan(0);
    proxy.stall();
    await expectSilence(planning);
    await expectSilence(plan());
    proxy.heal();
    expect(await plan()).toMatchObject({ files });
    await world.remove();
    await ground.remove();
  });
});

/** The same connector, which waits for less long. */
function impatiently(definition: ConnectorDefinition): ConnectorDefinition {
  return {
    ...definition,
    open(config, secrets, context) {
      if (definition.kind === 'sftp') {
        const patience = { ...sftpPatience, signInTimeoutMs: patienceMs, answerTimeoutMs: patienceMs };
        return openSftp(
          { connections: 1, ...(config as Omit<SftpSettings, 'connections'>) },
          secrets,
          context,
          patience,
        );
      }
      const { accessKeyId, ...settings } = config as Parameters<typeof readSettings>[0] & { accessKeyId: string };
      const patience = { ...s3Patience, startTimeoutMs: patienceMs, answerTimeoutMs: patienceMs };
      return openS3(readSettings(settings), { accessKeyId, ...secrets }, context, patience);
    },
  };
}

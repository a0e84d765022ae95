import { describe, expect, test } from 'vitest';
import { WaybillError } from '../schema/errors.ts';
import { readCommandEnvironment, readMigrateSettings, readServiceSettings } from './settings.ts';

const complete = {
  DATABASE_URL: 'postgresql://waybill_app:a%40b@db.example:5432/waybill',
  DATABASE_SYSTEM_URL: 'postgresql://waybill_system:c@db.example:5432/waybill',
  WAYBILL_MASTER_KEY: Buffer.alloc(32, 7).toString('base64'),
};

describe('settings of the services', () => {
  test('have defaults for all but the secrets', () => {
    const settings = readServiceSettings(complete);
    expect(settings).toMatchObject({
      temporalAddress: '127.0.0.1:7233',
      temporalNamespace: 'default',
      host: '127.0.0.1',
      port: 4000,
      localRoots: [],
      awsCredentials: 'none',
      egress: { loopback: false, allow: [] },
      logLevel: 'info',
      sweepEveryMs: 24 * 3_600_000,
    });
    expect(settings.masterKey).toEqual(Buffer.alloc(32, 7));
    expect(settings.webhookRetryDelaysMs.length).toBeGreaterThanOrEqual(3);
  });

  test('are read by their type: numbers, yes and no, lists, durations', () => {
    const settings = readServiceSettings({
      ...complete,
      WAYBILL_PORT: '0',
      WAYBILL_EGRESS_LOOPBACK: 'true',
      WAYBILL_EGRESS_ALLOW: '10.0.0.0/8, fd00::/8',
      WAYBILL_LOCAL_ROOTS: '/srv/in,/srv/out',
      WAYBILL_AWS_CREDENTIALS: 'ambient',
      WAYBILL_WEBHOOK_RETRIES: '100ms,2s',
      WAYBILL_SWEEP_EVERY: '12h',
    });
    expect(settings).toMatchObject({
      port: 0,
      egress: { loopback: true, allow: ['10.0.0.0/8', 'fd00::/8'] },
      localRoots: ['/srv/in', '/srv/out'],
      awsCredentials: 'ambient',
      webhookRetryDelaysMs: [100, 2000],
      sweepEveryMs: 12 * 3_600_000,
    });
    expect(readServiceSettings({ ...complete, WAYBILL_SWEEP_EVERY: 'never' }).sweepEveryMs).toBeNull();
    expect(() => readServiceSettings({ ...complete, WAYBILL_SWEEP_EVERY: '30s' })).toThrow('WAYBILL_SWEEP_EVERY');
  });

  test('name every mistake at once, and no value', () => {
    const wrong = {
      ...complete,
      DATABASE_URL: 'mysql://hunter2',
      WAYBILL_PORT: '99999',
      WAYBILL_LOG_LEVEL: 'loud',
      WAYBILL_MASTER_KEY: '',
    };
    const error = thrownBy(() => readServiceSettings(wrong));
    expect(error.kind).toBe('invalid');
    for (const name of ['DATABASE_URL', 'WAYBILL_PORT', 'WAYBILL_LOG_LEVEL', 'WAYBILL_MASTER_KEY'])
      expect(error.message).toContain(`  ${name} `);
    expect(error.message).not.toContain('DATABASE_SYSTEM_URL');
    expect(error.message).not.toContain('hunter2');
  });

  test('refuse a token of the codec that could be guessed or that a path would not keep', () => {
    const read = (token: string) => readServiceSettings({ ...complete, WAYBILL_CODEC_TOKEN: token }).codecToken;
    expect(read('A'.repeat(32))).toBe('A'.repeat(32));
    expect(readServiceSettings(complete).codecToken).toBeNull();
    for (const token of ['A'.repeat(31), `${'A'.repeat(31)}/`, `${'A'.repeat(31)}é`]) {
      const { message } = thrownBy(() => read(token));
      expect(message).toContain('WAYBILL_CODEC_TOKEN is not valid');
      expect(message).not.toContain(token);
    }
  });

  test('refuse a relative local root and a CIDR without a length', () => {
    expect(thrownBy(() => readServiceSettings({ ...complete, WAYBILL_LOCAL_ROOTS: 'srv' })).message).toContain(
      'WAYBILL_LOCAL_ROOTS',
    );
    expect(thrownBy(() => readServiceSettings({ ...complete, WAYBILL_EGRESS_ALLOW: '10.0.0.1' })).message).toContain(
      'WAYBILL_EGRESS_ALLOW',
    );
  });
});

test('migrate takes names and passwords of the roles out of their URLs', () => {
  expect(readMigrateSettings({ ...complete, DATABASE_OWNER_URL: 'postgres://owner:x@db/waybill' })).toMatchObject({
    ownerUrl: 'postgres://owner:x@db/waybill',
    applicationRole: { name: 'waybill_app', password: 'a@b' },
    systemRole: { name: 'waybill_system', password: 'c' },
  });
});

test('an empty variable is as one that is not set', () => {
  expect(readCommandEnvironment({ NO_COLOR: '', WAYBILL_URL: ' ' })).toMatchObject({ noColor: false, url: null });
});

function thrownBy(work: () => unknown): WaybillError {
  try {
    work();
  } catch (error) {
    if (error instanceof WaybillError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

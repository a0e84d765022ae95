import { createHmac } from 'node:crypto';
import { expect, test } from 'vitest';
import { newSigningSecret, signWebhook, verifyWebhook } from './webhookSigning.ts';

const body = '{"type":"orders.received","timestamp":"2026-01-01T00:00:00.000Z","data":{"name":"naïve ☃"}}';
const nowSeconds = (): number => Math.floor(Date.now() / 1000);
const refused = expect.objectContaining({ kind: 'unauthenticated' });

function headersOf(secret: string | string[], timestampSeconds = nowSeconds()) {
  return {
    'webhook-id': 'msg_1',
    'webhook-timestamp': String(timestampSeconds),
    'webhook-signature': signWebhook(secret, 'msg_1', timestampSeconds, body),
  };
}

test('the signature is the one of the Standard Webhooks specification', () => {
  // The vector of the specification's reference implementations.
  const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
  const payload = '{"test": 2432232314}';
  expect(signWebhook(secret, 'msg_p5jXN8AQM9LWM0D4loKWxJek', 1614265330, payload)).toBe(
    'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
  );
});

test('it is plain HMAC-SHA256, over bytes', () => {
  const secret = newSigningSecret();
  const key = Buffer.from(secret.slice('whsec_'.length), 'base64');
  const mac = createHmac('sha256', key).update(`msg_1.1700000000.${body}`).digest('base64');
  expect(signWebhook(secret, 'msg_1', 1_700_000_000, body)).toBe(`v1,${mac}`);
});

test('what we sign, a receiver verifies, whatever the case of the header names', () => {
  const secret = newSigningSecret();
  verifyWebhook(secret, headersOf(secret), body);
  const { 'webhook-id': id, 'webhook-timestamp': time, 'webhook-signature': signature } = headersOf(secret);
  verifyWebhook(
    secret,
    { 'Webhook-Id': id, 'WEBHOOK-TIMESTAMP': time, 'Webhook-Signature': signature, accept: ['a', 'b'] },
    body,
  );
});

test('another secret, body, id or time is refused', () => {
  const secret = newSigningSecret();
  const headers = headersOf(secret);
  expect(() => verifyWebhook(newSigningSecret(), headers, body)).toThrow(refused);
  expect(() => verifyWebhook(secret, headers, `${body} `)).toThrow(refused);
  expect(() => verifyWebhook(secret, { ...headers, 'webhook-id': 'msg_2' }, body)).toThrow(refused);
  expect(() => verifyWebhook(secret, { ...headers, 'webhook-timestamp': String(nowSeconds() - 1) }, body)).toThrow(
    refused,
  );
  expect(() => verifyWebhook(secret, { ...headers, 'webhook-signature': 'v1,' }, body)).toThrow(refused);
  expect(() => verifyWebhook(secret, {}, body)).toThrow(refused);
});

test('a message that is old, or from the future, is refused', () => {
  const secret = newSigningSecret();
  for (const shift of [-301, 301]) {
    expect(() => verifyWebhook(secret, headersOf(secret, nowSeconds() + shift), body)).toThrow(refused);
  }
});

test('during a rotation both the old and the new secret verify', () => {
  const [old, next] = [newSigningSecret(), newSigningSecret()];
  verifyWebhook(old, headersOf([next, old]), body);
  verifyWebhook(next, headersOf([next, old]), body);
  verifyWebhook([next, old], headersOf(old), body);
  expect(() => verifyWebhook(newSigningSecret(), headersOf([next, old]), body)).toThrow(refused);
});

test('a secret without prefix, of another length or not in base64 is refused, without being shown', () => {
  const short = `whsec_${Buffer.alloc(23, 'k').toString('base64')}`;
  const long = `whsec_${Buffer.alloc(65, 'k').toString('base64')}`;
  for (const secret of [short, long, newSigningSecret().slice('whsec_'.length), 'whsec_not base64!']) {
    const sign = () => signWebhook(secret, 'msg_1', 1, body);
    expect(sign).toThrow(expect.objectContaining({ kind: 'invalid' }));
    expect(sign).not.toThrow(secret);
  }
  for (const secret of ['', 'whsec_'])
    expect(() => signWebhook(secret, 'msg_1', 1, body)).toThrow(expect.objectContaining({ kind: 'invalid' }));
});

test('an id with a full stop is refused', () => {
  expect(() => signWebhook(newSigningSecret(), 'msg.1', 1, body)).toThrow(expect.objectContaining({ kind: 'invalid' }));
});

import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { createSecretBox } from './secrets.ts';

const tenant = '01a20255-b915-7c46-a405-92c409c47997';
const other = '01a20255-b915-7c46-a405-92c409c47998';
const box = createSecretBox(randomBytes(32));
const refused = expect.objectContaining({ kind: 'integrity' });

test('a sealed secret opens to the same text, also when it is empty or not Latin', () => {
  for (const text of ['hunter2', '', 'ключ\n🔑', 'x'.repeat(100_000)]) {
    expect(box.open(tenant, 'acme', box.seal(tenant, 'acme', text))).toBe(text);
  }
});

test('the sealed bytes do not hold the text, and are never the same twice', () => {
  const sealed = box.seal(tenant, 'acme', 'hunter2');
  expect(sealed.includes('hunter2')).toBe(false);
  expect(box.seal(tenant, 'acme', 'hunter2')).not.toEqual(sealed);
});

test('changing any one byte is noticed', () => {
  const sealed = box.seal(tenant, 'acme', 'hunter2');
  for (let index = 0; index < sealed.length; index += 1) {
    const changed = Buffer.from(sealed);
    changed[index] = changed[index]! ^ 1;
    expect(() => box.open(tenant, 'acme', changed), `byte ${index}`).toThrow(refused);
  }
});

test('cutting it anywhere is noticed', () => {
  const sealed = box.seal(tenant, 'acme', 'hunter2');
  for (let length = 0; length < sealed.length; length += 1) {
    expect(() => box.open(tenant, 'acme', sealed.subarray(0, length)), `${length} bytes`).toThrow(refused);
  }
});

test('a secret does not open for another tenant, another name or another master key', () => {
  const sealed = box.seal(tenant, 'acme', 'hunter2');
  expect(() => box.open(other, 'acme', sealed)).toThrow(refused);
  expect(() => box.open(tenant, 'globex', sealed)).toThrow(refused);
  expect(() => createSecretBox(randomBytes(32)).open(tenant, 'acme', sealed)).toThrow(refused);
});

test('a digest tells equal plaintexts of one tenant, and nothing across tenants or master keys', () => {
  expect(box.digest(tenant, 'hunter2')).toBe(box.digest(tenant, 'hunter2'));
  expect(box.digest(tenant, 'hunter2')).not.toBe(box.digest(tenant, 'hunter3'));
  expect(box.digest(tenant, 'hunter2')).not.toBe(box.digest(other, 'hunter2'));
  expect(box.digest(tenant, 'hunter2')).not.toBe(createSecretBox(randomBytes(32)).digest(tenant, 'hunter2'));
});

test('an error does not tell the secret', () => {
  const sealed = box.seal(tenant, 'acme', 'hunter2');
  try {
    box.open(other, 'acme', sealed);
    expect.unreachable();
  } catch (error) {
    expect(JSON.stringify(error) + String(error)).not.toContain('hunter2');
  }
});

test('a master key of another length is refused', () => {
  expect(() => createSecretBox(randomBytes(16))).toThrow(expect.objectContaining({ kind: 'invalid' }));
});

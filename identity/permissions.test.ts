import { expect, test } from 'vitest';
import { allow, isScope, mayGive, permissions } from './permissions.ts';

test('the scopes of a key narrow what its role allows, and never widen it', () => {
  expect(allow({ role: 'owner', scopes: ['run:read'] }, 'run:read')).toBe(true);
  expect(allow({ role: 'owner', scopes: ['run:read'] }, 'run:start')).toBe(false);
  expect(allow({ role: 'owner', scopes: ['run:*'] }, 'run:start')).toBe(true);
  expect(allow({ role: 'owner', scopes: ['run:*'] }, 'transfer:read')).toBe(false);
  expect(allow({ role: 'auditor', scopes: ['*', 'run:start'] }, 'run:start')).toBe(false);
  expect(allow({ role: 'owner', scopes: [] }, 'run:read')).toBe(false);
});

test('an unknown role allows nothing, also when it is named like a property of every object', () => {
  for (const role of ['', 'root', 'constructor', '__proto__', 'toString']) {
    expect(permissions.some((permission) => allow({ role, scopes: ['*'] }, permission))).toBe(false);
  }
});

test('nobody gives away more than they have', () => {
  const owner = { role: 'owner', scopes: ['*'] };
  const reader = { role: 'owner', scopes: ['run:read', 'key:create'] };
  const operator = { role: 'operator', scopes: ['*'] };
  expect(mayGive(owner, operator)).toBe(true);
  expect(mayGive(operator, owner)).toBe(false);
  expect(mayGive(reader, { role: 'owner', scopes: ['run:read'] })).toBe(true);
  expect(mayGive(reader, { role: 'owner', scopes: ['run:*'] })).toBe(false);
  expect(mayGive(reader, { role: 'uploader', scopes: ['*'] })).toBe(true);
});

test('only *, a permission and family:* are scopes', () => {
  for (const scope of ['*', 'run:read', 'run:*']) expect(isScope(scope), scope).toBe(true);
  for (const scope of ['', 'run', 'run:', 'run:fly', ':*', '**', 'RUN:read', '*:read'])
    expect(isScope(scope), scope).toBe(false);
});

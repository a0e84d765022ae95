import { expect, test } from 'vitest';
import { allow, isScope, type Permission, permissions, roles } from './permissions.ts';

/** The whole table, written out: whoever widens a role changes it here too. */
const expected: Record<(typeof roles)[number], readonly Permission[]> = {
  owner: permissions,
  engineer: [
    ...([
      'pipeline:read',
      'pipeline:publish',
      'endpoint:read',
      'endpoint:check',
      'endpoint:change',
      'webhook:read',
    ] as const),
    ...([
      'webhook:change',
      'run:read',
      'run:start',
      'run:cancel',
      'run:pause',
      'transfer:read',
      'delivery:read',
      'delivery:retry',
      'delivery:resend',
    ] as const),
    ...(['session:read', 'audit:read', 'secret:read', 'secret:set', 'account:read'] as const),
  ],
  operator: [
    ...([
      'pipeline:read',
      'endpoint:read',
      'endpoint:check',
      'webhook:read',
      'run:read',
      'run:start',
      'run:cancel',
      'run:pause',
    ] as const),
    ...(['transfer:read', 'delivery:read', 'delivery:retry', 'delivery:resend', 'session:read', 'audit:read'] as const),
  ],
  auditor: [
    ...(['pipeline:read', 'endpoint:read', 'webhook:read', 'run:read', 'transfer:read', 'delivery:read'] as const),
    ...(['session:read', 'audit:read', 'key:read', 'secret:read', 'account:read'] as const),
  ],
  uploader: [],
  service: [
    ...([
      'pipeline:read',
      'endpoint:read',
      'endpoint:check',
      'webhook:read',
      'run:read',
      'run:start',
      'run:cancel',
      'run:pause',
    ] as const),
    ...(['transfer:read', 'delivery:read', 'delivery:retry', 'delivery:resend'] as const),
  ],
};

test.each(roles)('the role %s may do what the table says and nothing else', (role) => {
  const may = permissions.filter((permission) => allow({ role, scopes: ['*'] }, permission));
  expect(new Set(may)).toEqual(new Set(expected[role]));
});

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

test('only *, a permission and family:* are scopes', () => {
  for (const scope of ['*', 'run:read', 'run:*']) expect(isScope(scope), scope).toBe(true);
  for (const scope of ['', 'run', 'run:', 'run:fly', ':*', '**', 'RUN:read', '*:read'])
    expect(isScope(scope), scope).toBe(false);
});

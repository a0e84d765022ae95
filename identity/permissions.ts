/** What can be done through the API. `family:verb`; a query or mutation names the one that it needs. */
export const permissions = [
  'pipeline:read',
  'pipeline:publish',
  'endpoint:read',
  'endpoint:check',
  'endpoint:pause',
  'endpoint:sweep',
  'endpoint:change',
  'webhook:read',
  'webhook:change',
  'run:read',
  'run:start',
  'run:cancel',
  'run:pause',
  'run:decode',
  'transfer:read',
  'delivery:read',
  'delivery:retry',
  'delivery:resend',
  'session:read',
  'session:close',
  'session:impersonate',
  'audit:read',
  'key:read',
  'key:create',
  'key:revoke',
  'secret:read',
  'secret:set',
  'secret:rotate',
  'account:read',
  'account:change',
  'user:read',
  'user:change',
  'application:read',
  'application:change',
  'integration:read',
  'integration:change',
] as const;
export type Permission = (typeof permissions)[number];

export const roles = ['owner', 'engineer', 'operator', 'auditor', 'uploader', 'service'] as const;
type Role = (typeof roles)[number];

const look: readonly Permission[] = [
  'pipeline:read',
  'endpoint:read',
  'webhook:read',
  'run:read',
  'transfer:read',
  'delivery:read',
];
const operate: readonly Permission[] = [
  'run:start',
  'run:cancel',
  'run:pause',
  'delivery:retry',
  'delivery:resend',
  'endpoint:check',
];
const configure: readonly Permission[] = [
  ...(['pipeline:publish', 'endpoint:change', 'webhook:change', 'secret:read', 'secret:set'] as const),
];

/** Who may do what. A service acts for an application: it runs what engineers have published. */
const granted: Record<Role, readonly Permission[]> = {
  owner: permissions,
  engineer: [
    ...look,
    ...operate,
    ...configure,
    'session:read',
    'audit:read',
    'account:read',
    'user:read',
    'application:read',
    'integration:read',
  ],
  operator: [...look, ...operate, 'run:decode', 'session:read', 'audit:read'],
  auditor: [
    ...look,
    'session:read',
    'audit:read',
    'key:read',
    'secret:read',
    'account:read',
    'user:read',
    'application:read',
    'integration:read',
  ],
  uploader: [],
  service: [...look, ...operate, 'session:impersonate'],
};

/** Whether both the role and the scopes of the presented key allow it. An unknown role or scope allows nothing. */
export function allow(caller: { role: string; scopes: readonly string[] }, permission: Permission): boolean {
  const ofRole = (roles as readonly string[]).includes(caller.role) ? granted[caller.role as Role] : [];
  return ofRole.includes(permission) && caller.scopes.some((scope) => covers(scope, permission));
}

/** Whether the caller may do all that a role with those scopes may: nobody gives away more than they have. */
export function mayGive(
  caller: { role: string; scopes: readonly string[] },
  given: { role: string; scopes: readonly string[] },
): boolean {
  return permissions.every((permission) => !allow(given, permission) || allow(caller, permission));
}

/** Whether a scope can be given to a key: `*`, a permission, or `family:*`. */
export function isScope(scope: string): boolean {
  return permissions.some((permission) => covers(scope, permission));
}

function covers(scope: string, permission: Permission): boolean {
  return scope === '*' || scope === permission || scope === `${permission.slice(0, permission.indexOf(':'))}:*`;
}

/**
 * Every route, and who may take it: `anybody`; `credential`, a verified one; `fields`, of which each names its permission,
 * and where a visitor finds only those that sign in; `token`, who has the token of the installation that stands in the path.
 */
export const routes = [
  { path: '/health', rule: 'anybody', ofSite: false },
  { path: '/ready', rule: 'anybody', ofSite: false },
  { path: '/graphql', rule: 'fields', ofSite: true },
  { path: '/auth/validate', rule: 'credential', ofSite: true },
  { path: '/codec/decode', rule: 'credential', ofSite: true },
  { path: '/codec/encode', rule: 'credential', ofSite: true },
  { path: '/codec/{token}/decode', rule: 'token', ofSite: false },
] as const;

export type RoutePath = (typeof routes)[number]['path'];

interface FoundRoute {
  path: RoutePath;
  site: string | null;
  /** What stands for the token in the path, right or wrong. */
  token: string | null;
}

/** The route of a URL, and the site whose it is: `/t/<site>/graphql`. Undefined when there is none. */
export function findRoute(url: string): FoundRoute | undefined {
  const whole = url.split('?')[0]!;
  const token = /^\/codec\/([^/]+)\/decode$/.exec(whole)?.[1];
  if (token !== undefined) return { path: '/codec/{token}/decode', site: null, token };
  const ofSite = /^\/t\/([A-Za-z0-9._-]{1,253})(\/.+)$/.exec(whole);
  const path = ofSite?.[2] ?? whole;
  const route = routes.find((candidate) => candidate.path === path && (ofSite === null || candidate.ofSite));
  return route && { path: route.path, site: ofSite?.[1] ?? null, token: null };
}

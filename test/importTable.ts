/** Who may import whom at run time; ARCHITECTURE.md shows the same table. `import type` is exempt. `cli` and `test` may import everything. */
export const mayImport: Record<string, readonly string[]> = {
  schema: [],
  language: ['schema'],
  workflows: ['language', 'schema'],
  network: ['schema'],
  prisma: ['schema'],
  connectors: ['network', 'schema'],
  identity: ['audit', 'prisma', 'network', 'schema'],
  audit: ['prisma', 'network', 'schema'],
  activities: ['connectors', 'language', 'identity', 'audit', 'prisma', 'network', 'schema'],
  api: ['language', 'identity', 'audit', 'prisma', 'network', 'connectors/registry.ts', 'schema'],
};

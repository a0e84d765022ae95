import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const ignored = ['**/node_modules/**', 'dist/**', '.waybill/**'];
// Node gives everyone graphql's main file; vite would give our own code its ESM twin, and two graphqls refuse each other.
const resolve = {
  alias: [
    { find: /^graphql$/, replacement: createRequire(import.meta.url).resolve('graphql') },
    // As the services do it for plugins: in the tests their modules go through vite, which asks no hook of Node's.
    { find: /^waybill$/, replacement: fileURLToPath(new URL('connectors/plugin.ts', import.meta.url)) },
  ],
};

export default defineConfig({
  test: {
    projects: [
      {
        resolve,
        test: {
          name: 'unit',
          include: ['**/*.test.ts'],
          exclude: [...ignored, '**/*.integration.test.ts'],
          testTimeout: 10_000,
        },
      },
      {
        resolve,
        test: {
          name: 'integration',
          include: ['**/*.integration.test.ts'],
          exclude: ignored,
          globalSetup: ['./test/servers/databaseServer.ts'],
          testTimeout: 60_000,
          hookTimeout: 120_000,
          // Several files at once start servers of their own; more of them only makes each slower.
          maxWorkers: 2,
        },
      },
    ],
  },
});

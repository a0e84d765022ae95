import { defineConfig } from 'vitest/config';

const ignored = ['**/node_modules/**', 'dist/**', '.waybill/**'];

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['**/*.test.ts'],
          exclude: [...ignored, '**/*.integration.test.ts'],
          testTimeout: 10_000,
        },
      },
      {
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

import { fileURLToPath } from 'node:url';
import { bundleWorkflowCode } from '@temporalio/worker';
import { expect, test } from 'vitest';

// The bundler refuses modules of Node in workflow code: evaluating must not reach for one, whatever it imports.
test('expressions, locations and inputs bundle for the workflow sandbox', async () => {
  const workflowsPath = fileURLToPath(new URL('./sandboxModules.ts', import.meta.url));
  const problems: string[] = [];
  const keep = (message: string) => void problems.push(message);
  const drop = () => {};
  const logger = { log: drop, trace: drop, debug: drop, info: drop, warn: keep, error: keep };
  const { code } = await bundleWorkflowCode({ workflowsPath, logger });
  expect(problems).toEqual([]);
  expect(code).toContain('compileGlob');
  expect(code).not.toMatch(/require\(["']node:/);
}, 60_000);

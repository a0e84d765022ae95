import { fileURLToPath } from 'node:url';
import { type BundleOptions, bundleWorkflowCode, type WorkflowBundle } from '@temporalio/worker';

/** The bundle of the interpreter. `changes`: for tests that put another module in the place of one. */
export async function bundleRuns(changes: Pick<BundleOptions, 'webpackConfigHook'> = {}): Promise<WorkflowBundle> {
  const { code } = await bundleWorkflowCode({
    workflowsPath: workflowFile('run'),
    preloadModules: [workflowFile('stackTraces')],
    logger: quiet,
    ...changes,
  });
  return { code: code.replace(sourceMap, emptySourceMap) };
}

/** The worker looks every frame of a stack trace up in it, and wants one to be there: see `workflows/stackTraces.ts`. */
const sourceMap = /\/\/# sourceMappingURL=data:[^\n]*/;
const emptySourceMap = `//# sourceMappingURL=data:application/json;charset=utf-8;base64,${Buffer.from(
  JSON.stringify({ version: 3, file: 'workflows.js', sources: [], names: [], mappings: '' }),
).toString('base64')}`;

/** The bundle of the workflows around the runs. */
export function bundleSystem(): Promise<WorkflowBundle> {
  return bundleWorkflowCode({ workflowsPath: workflowFile('system'), logger: quiet });
}

/** Run from the clone the workflows are TypeScript, in the npm package JavaScript: as this file is. */
function workflowFile(name: string): string {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  return fileURLToPath(new URL(`../../workflows/${name}.${extension}`, import.meta.url));
}

const quiet = { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} };

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type BundleOptions, bundleWorkflowCode, type WorkflowBundle } from '@temporalio/worker';
import { WaybillError } from '../../schema/errors.ts';

const run = promisify(execFile);
const bundlesBytesAtMost = 64 * 1024 * 1024;

/**
 * Both bundles, made by a process that then ends: bundling takes some 300 MiB, which the worker would keep for all its life.
 * Throws internal with what that process said.
 */
export async function bundleApart(): Promise<{ runs: WorkflowBundle; system: WorkflowBundle }> {
  try {
    const words = [moduleFile('cli/services/bundleProcess')];
    const { stdout } = await run(process.execPath, words, { maxBuffer: bundlesBytesAtMost });
    return JSON.parse(stdout) as { runs: WorkflowBundle; system: WorkflowBundle };
  } catch (cause) {
    const said = String((cause as { stderr?: string }).stderr ?? cause).trim();
    throw new WaybillError('internal', `the workflows could not be bundled: ${said}`, { cause });
  }
}

/** Bundles, workers and clients that work together name the same one. */
export const failureConverterPath = workflowFile('failureConverter');

/** The bundle of the interpreter. `changes`: for tests that put another module in the place of one. */
export async function bundleRuns(changes: Pick<BundleOptions, 'webpackConfigHook'> = {}): Promise<WorkflowBundle> {
  const { code } = await bundleWorkflowCode({
    workflowsPath: workflowFile('run'),
    preloadModules: sharedModules,
    failureConverterPath,
    logger: quiet,
    ...changes,
  });
  return { code: code.replace(sourceMap, emptySourceMap) };
}

/**
 * Loaded once for all runs of a worker instead of once for each, which halves what a short run costs. What they hold beside
 * constants is memos of pure functions, so that runs cannot see each other.
 */
const sharedModules = [workflowFile('stackTraces'), moduleFile('language/evaluate'), moduleFile('schema/actions')];

/** The worker looks every frame of a stack trace up in it, and wants one to be there: see `workflows/stackTraces.ts`. */
// Written so that no tool takes it for the source map of this file.
const mapMark = ['//# source', 'MappingURL=data:application/json;charset=utf-8;base64,'].join('');
const sourceMap = new RegExp(`${mapMark}[^\\n]*`);
const emptySourceMap =
  mapMark +
  Buffer.from(JSON.stringify({ version: 3, file: 'workflows.js', sources: [], names: [], mappings: '' })).toString(
    'base64',
  );

/** The bundle of the workflows around the runs. */
export function bundleSystem(): Promise<WorkflowBundle> {
  return bundleWorkflowCode({ workflowsPath: workflowFile('system'), failureConverterPath, logger: quiet });
}

function workflowFile(name: string): string {
  return moduleFile(`workflows/${name}`);
}

/** Run from the clone the modules are TypeScript, in the npm package JavaScript: as this file is. */
function moduleFile(name: string): string {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  return fileURLToPath(new URL(`../../${name}.${extension}`, import.meta.url));
}

const quiet = { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} };

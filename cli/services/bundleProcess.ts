/** A process of its own, started by `bundleApart`: prints both bundles as one JSON object. */
import { bundleRuns, bundleSystem } from './workflowBundles.ts';

const [runs, system] = await Promise.all([bundleRuns(), bundleSystem()]);
process.stdout.write(JSON.stringify({ runs, system }));

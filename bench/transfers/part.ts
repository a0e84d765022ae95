import type { Measurement } from '../benchmark.ts';
import type { DocumentSecret, Services } from '../installation.ts';
import type { WorkerProcess } from '../workerProcess.ts';

/** One comparison of whole transfers: a pipeline that was applied, run by Temporal and a worker process, beside a peer. */
export interface Part {
  name: string;
  summary: string;
  /** Bytes of disk that it takes at most while it runs. */
  diskBytes(quick: boolean): number;
  /** Its worker only moves bytes; another walks the pipelines. */
  movesOnly?: true;
  measure(bench: Bench): Promise<Array<Omit<Measurement, 'rssMiB'>>>;
}

/** What a part works with. */
export interface Bench {
  quick: boolean;
  say(message: string): void;
  /** Of this part alone; removed after it. */
  folder: string;
  services: Services;
  /** Started for this part. */
  worker: WorkerProcess;
  apply(documents: readonly string[], secrets?: readonly DocumentSecret[]): Promise<void>;
  /** Runs the pipeline to its end. Throws when it does not succeed, or other than so many files were settled. */
  run(pipeline: string, files: number): Promise<void>;
}

/** A pipeline of one copy over what `here` and `there` name. */
export function copyPipeline(
  name: string,
  endpoints: { here: string; there: string },
  from: string,
  to: string,
): string {
  return `pipeline: ${name}
apiVersion: waybill/v1
endpoints: { here: ${endpoints.here}, there: ${endpoints.there} }
steps:
  - id: copy
    use: transfer.copy@1
    with: { from: "${from}", to: "${to}", once: off, onConflict: overwrite }
`;
}

export function localEndpoint(name: string, root: string): string {
  return `endpoint: ${name}\napiVersion: waybill/v1\nconnector: local\nconfig: { root: ${root} }\n`;
}

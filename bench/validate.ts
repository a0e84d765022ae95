import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readDraft } from '../cli/configuration/publish.ts';
import { type Benchmark, median, type Terms, timed } from './benchmark.ts';

const files = 500;
const warmUps = 1;
/** What an engineer waits for without looking away. */
const limitMs = 2_000;

/** Reading and checking a folder of pipelines, no two alike, as `waybill validate` does, beside the limit that it has to keep. */
export const validate: Benchmark = {
  name: 'validate',
  summary: `checking ${files} pipelines, beside the limit of ${limitMs / 1000} s`,
  measure: async ({ quick, say }) => {
    const folder = await mkdtemp(join(tmpdir(), 'waybill-bench-'));
    try {
      await writePipelines(folder);
      const milliseconds = await rounds(folder, { quick, say });
      // The first round is what a command pays: nothing is compiled yet.
      const [cold = 0, ...warm] = milliseconds;
      return [
        { name: 'validate.cold', ours: cold, peer: limitMs, unit: `ms for ${files} files` },
        { name: 'validate.warm', ours: median(warm), peer: limitMs, unit: `ms for ${files} files` },
      ];
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
};

async function rounds(folder: string, { quick, say }: Pick<Terms, 'quick' | 'say'>): Promise<number[]> {
  const milliseconds: number[] = [];
  for (let round = 0; round < warmUps + (quick ? 1 : 5); round++) {
    milliseconds.push(await timed(() => check(folder)));
    say(`round ${round + 1}: ${milliseconds.at(-1)!.toFixed(0)} ms`);
  }
  return milliseconds;
}

async function check(folder: string): Promise<void> {
  const { checked } = await readDraft([folder]);
  if (checked.documents.length !== files)
    throw new Error(`${checked.documents.length} of ${files} files were accepted`);
}

async function writePipelines(folder: string): Promise<void> {
  for (let index = 0; index < files; index++) {
    const partner = join(folder, `partner-${index % 25}`);
    await mkdir(partner, { recursive: true });
    await writeFile(join(partner, `pipeline-${index}.yaml`), pipeline(index));
  }
}

/** Names, inputs, steps and expressions differ, so that nothing can be remembered from one file to the next. */
function pipeline(index: number): string {
  const copies = Array.from({ length: 1 + (index % 4) }, (_, step) => copy(index, step));
  return `pipeline: partner-${index}-orders
apiVersion: waybill/v1
description: Orders of partner ${index}.
labels: { partner: p${index}, owner: integrations }
inputs:
  glob${index}: { type: string, default: "/out/${index}/*.csv" }
  limit: { type: integer, default: ${index} }
vars: { archive: "/archive/${index}", days: ${1 + (index % 9)} }
endpoints: { partner: partner-${index}-sftp, landing: landing-zone }
concurrency: { key: "orders-${index}-\${{ inputs.limit }}", limit: ${1 + (index % 3)} }
defaults:
  retry: { for: ${1 + (index % 12)}h, first: 2s, factor: 2, max: 15m, jitter: 20% }
steps:
  - id: list${index}
    use: files.list@1
    with: { from: { endpoint: partner, glob: "\${{ inputs.glob${index} }}" }, where: "file.size > ${index} && !file.name.startsWith('tmp')" }
${copies.join('')}  - id: each
    forEach: steps.list${index}.files
    as: file
    maxParallel: ${1 + (index % 20)}
    tolerate: ${1 + (index % 50)}%
    steps:
      - use: files.move@1
        with:
          from: { endpoint: partner, path: "\${{ file.path }}" }
          to: "\${{ vars.archive }}/\${{ run.date.addDays(-${index % 7}).formatDate('yyyyMMdd') }}/\${{ file.name.stem() + '-${index}' + file.name.ext() }}"
          onConflict: version
    onError:
      - when: error.kind == "forbidden"
        use: audit.write@1
        with: { event: orders.refused, data: { file: "\${{ file.name }}", partner: ${index} } }
  - if: steps.each.failed.count > vars.days && steps.list${index}.files.count > ${index}
    steps:
      - parallel:
          - use: webhook.send@1
            with: { event: orders.failed, data: { first: "\${{ steps.each.failed.first(3) }}" } }
          - wait: \${{ vars.days }}m
finally:
  - use: audit.write@1
    with: { event: orders.finished, data: { status: "\${{ run.status }}", count: "\${{ steps.each.succeeded.count }}" } }
outputs: { files: steps.each.succeeded.count, bytes: steps.each.bytes }
`;
}

function copy(index: number, step: number): string {
  return `  - id: copy${step}
    if: inputs.limit > ${step}
    use: transfer.copy@1
    with:
      from: "partner:/in/${index}/${step}/**/*.{csv,txt}"
      to: { endpoint: landing, path: "/partner-${index}/${step}/" }
      then: { move: /done/${step}/, onConflict: version }
      verify: ${['hash', 'readback', 'size'][step % 3]}
    timeout: { stall: ${1 + step}m, total: ${1 + (index % 20)}h }
`;
}

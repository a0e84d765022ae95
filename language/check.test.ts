import { describe, expect, test } from 'vitest';
import type { ActionBlock, ForEachBlock, Plan } from '../schema/plan.ts';
import { type CheckOptions, check } from './check.ts';
import { evaluateCondition, fill } from './evaluate.ts';

const options: CheckOptions = { connectors: [] };
const header = 'pipeline: acme-orders\napiVersion: waybill/v1\n';
const aliases = 'endpoints: { partner: acme-sftp, landing: landing-zone }\n';

describe('the plan of a pipeline', () => {
  const text = `${header}${aliases}inputs: { rate: { type: number, default: 5 }, min: { type: integer, default: 10 } }
defaults: { retry: { for: 1h, jitter: 50% }, timeout: { total: 2h } }
steps:
  - id: orders
    use: transfer.copy@1
    retry: { attempts: 3, notOn: [] }
    summary: "orders of \${{ run.date }}"
    with: { from: "partner:/out//*.csv", to: "landing:acme/" }
  - id: list
    use: files.list@1
    with: { from: "partner:/in/\${{ run.date }}", where: "file.size > inputs.min && file.name != 'it\\"s'" }
  - forEach: steps.list.files
    if: "\${{ steps.orders.files > 0 }}"
    steps: [ { use: audit.write@1, with: { event: orders.seen, data: { half: "\${{ inputs.rate / 2 }}", n: 1 } } } ]
    onError: [ { use: audit.write@1, with: { event: orders.lost, data: { name: "\${{ item.name }}", why: "\${{ error.kind }}" } } } ]
  - if: run.id != ""
    steps: [ { use: audit.write@1, with: { event: a.b } } ]
    else: [ { use: audit.write@1, with: { event: a.c } } ]
finally: [ { use: audit.write@1, with: { event: a.d, data: { s: "\${{ run.status }}" } } } ]
outputs: { files: "\${{ steps.orders.files }}" }
`;
  const plan = planOf(text);
  const [orders, list, loop] = plan.steps as [ActionBlock, ActionBlock, ForEachBlock];

  test('settles whether a location is a path or a glob, and normalises it', () => {
    expect(orders.with).toEqual({
      from: { endpoint: 'partner', glob: '/out/*.csv' },
      to: { endpoint: 'landing', path: '/acme/' },
    });
    expect(list.with.from).toEqual({ endpoint: 'partner', path: '/in/${{ run.date }}' });
  });

  test('takes policies from the action, then the pipeline, then the step', () => {
    expect(orders.retry).toEqual({
      forMs: 3_600_000,
      attempts: 3,
      firstMs: 2_000,
      factor: 2,
      maxMs: 900_000,
      jitter: 0.5,
      notOn: [],
    });
    expect(orders.timeout).toEqual({ stallMs: 300_000, totalMs: 7_200_000 });
  });

  test('names each block by where it stands', () => {
    const paths = JSON.stringify(plan)
      .match(/"path":"(?:steps|finally|onError)[^"]*"/g)
      ?.map((match) => match.slice(8, -1));
    expect(paths).toEqual([
      ...[
        'steps[0]',
        'steps[1]',
        'steps[2]',
        'steps[2].onError[0]',
        'steps[2].steps[0]',
        'steps[3]',
        'steps[3].steps[0]',
        'steps[3].else[0]',
      ],
      'finally[0]',
    ]);
  });

  test('holds bare CEL for conditions, loops and outputs', () => {
    expect(loop).toMatchObject({
      kind: 'forEach',
      items: 'steps.list.files',
      as: 'item',
      maxParallel: 8,
      if: 'steps.orders.files > 0',
    });
    expect(plan.outputs).toEqual({ files: 'steps.orders.files' });
  });

  test('divides a number input as a number, also when a run gives a whole one', () => {
    const data = (loop.steps[0] as ActionBlock).with.data!;
    expect(fill(data, { inputs: { rate: 5 } })).toEqual({ half: 2.5, n: 1 });
  });

  test('holds a filter that names only the file once it is filled', () => {
    const filled = fill(list.with.where!, { inputs: { min: 10 } }) as string;
    expect(filled).toBe(`file.size > (10) && file.name != 'it"s'`);
    expect(evaluateCondition(filled, { file: { size: 11, name: 'x' } })).toBe(true);
  });

  test('is plain JSON', () => {
    expect(JSON.parse(JSON.stringify(plan))).toEqual(plan);
  });
});

describe('a filter', () => {
  test.each([['it"s \\ ${{ x }}'], ["' || true || '"], ['\u2028\n\t']])('takes the text %j as a text', (name) => {
    const { steps } = planOf(`${header}${aliases}inputs: { name: { type: string } }
steps:
  - { id: list, use: files.list@1, with: { from: "partner:/in/*", where: "file.name == inputs.name" } }
  - { id: copy, use: transfer.copy@1, with: { from: "partner:/in/*", to: "landing:/in/" } }
`);
    const filled = fill((steps[0] as ActionBlock).with.where!, { inputs: { name } }) as string;
    expect(evaluateCondition(filled, { file: { name } })).toBe(true);
    expect(evaluateCondition(filled, { file: { name: 'other' } })).toBe(false);
  });
});

describe('the version of a pipeline', () => {
  const base = `${header}${aliases}steps:\n  - { id: a, use: transfer.copy@1, with: { from: "partner:/a", to: "landing:/b" } }\n`;

  test('does not change with comments, layout, quotes or the order of keys', () => {
    const same = `# a comment\napiVersion: "waybill/v1"\npipeline: acme-orders\nsteps:\n  - use: transfer.copy@1\n    id: a\n    with:\n      to: 'landing:/b'\n      from: partner:/a\nendpoints:\n  landing: landing-zone\n  partner: acme-sftp\n`;
    expect(hashOf(same)).toBe(hashOf(base));
    expect(hashOf(base)).toMatch(/^[0-9a-f]{64}$/);
  });

  test('changes with what the file says', () => {
    expect(hashOf(base.replace('/b', '/c'))).not.toBe(hashOf(base));
    expect(hashOf(base.replace('steps', 'description: x\nsteps'))).not.toBe(hashOf(base));
  });
});

describe('files that are not ours', () => {
  test.each([
    ['deployment.yaml', 'apiVersion: apps/v1\nkind: Deployment\n'],
    ['ci.yaml', 'pipeline:\n  build:\n    image: node\n'],
    ['values.yaml', '{{- if .Values.x }}\na: b\n{{- end }}\n'],
    ['empty.yaml', '# nothing\n'],
    ['orders.test.yaml', `${header}steps: 5\n`],
    ['list.yaml', '- a\n- b\n'],
  ])('%s is ignored with a reason', (file, text) => {
    const result = check([{ file, text }], options);
    expect(result).toMatchObject({ ok: true, diagnostics: [], documents: [], ignored: [{ file }] });
    expect(result.ignored[0]!.reason).not.toBe('');
  });

  test('of ours a misspelt first key is told', () => {
    const result = check(
      [{ file: 'x.yaml', text: 'pipelin: acme-orders\napiVersion: waybill/v1\nsteps: []\n' }],
      options,
    );
    expect(result.diagnostics.map(({ code, suggestion }) => [code, suggestion])).toContainEqual([
      'UNKNOWN_KEY',
      'did you mean pipeline?',
    ]);
  });
});

describe('several files', () => {
  const pipeline = {
    file: 'a.yaml',
    text: `${header}endpoints: { partner: acme-sftp }\nsteps: [ { use: files.delete@1, with: { at: "partner:/x" } } ]\n`,
  };

  test('a pipeline may use an endpoint that is published, or among them', () => {
    const local = { kind: 'local', summary: '', config: { type: 'object' } as never, secrets: {} };
    const endpoint = { file: 'b.yaml', text: 'endpoint: acme-sftp\napiVersion: waybill/v1\nconnector: local\n' };
    expect(check([pipeline], { connectors: [local], knownEndpoints: new Set() }).ok).toBe(false);
    expect(check([pipeline], { connectors: [local], knownEndpoints: new Set(['acme-sftp']) }).ok).toBe(true);
    expect(check([pipeline, endpoint], { connectors: [local], knownEndpoints: new Set() }).ok).toBe(true);
    expect(check([pipeline], { connectors: [local] }).ok).toBe(true);
  });

  test('two of one name are told at the second', () => {
    const result = check([pipeline, { ...pipeline, file: 'c.yaml' }], options);
    expect(result.diagnostics.map(({ code, file, line, column }) => ({ code, file, line, column }))).toEqual([
      { code: 'DUPLICATE_NAME', file: 'c.yaml', line: 1, column: 11 },
    ]);
  });

  test('one file may hold several documents, each with its own source', () => {
    const result = check(
      [{ file: 'a.yaml', text: `${pipeline.text}---\n${pipeline.text.replace('acme-orders', 'acme-invoices')}` }],
      options,
    );
    expect(result.ok).toBe(true);
    expect(result.documents.map(({ name }) => name)).toEqual(['acme-orders', 'acme-invoices']);
    expect(
      result.documents.map((document) =>
        document.kind === 'pipeline' ? check([{ file: 'x', text: document.source }], options).documents[0]!.hash : '',
      ),
    ).toEqual(result.documents.map(({ hash }) => hash));
  });
});

function planOf(text: string): Plan {
  const result = check([{ file: 'x.yaml', text }], options);
  expect(result.diagnostics).toEqual([]);
  const [document] = result.documents;
  if (document?.kind !== 'pipeline') throw new Error('not a pipeline');
  return document.plan;
}

function hashOf(text: string): string {
  const result = check([{ file: 'x.yaml', text }], options);
  expect(result.diagnostics).toEqual([]);
  return result.documents[0]!.hash;
}

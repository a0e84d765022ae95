import { describe, expect, test } from 'vitest';
import { check } from './check.ts';

const header = `pipeline: acme-orders
apiVersion: waybill/v1
inputs: { urgent: { type: boolean, default: false } }
endpoints: { partner: acme-sftp, landing: landing-zone }
`;
const seen = '{ use: audit.write@1, with: { event: orders.seen } }';

describe('a source that more than one step copies', () => {
  const copy = (id: string, then: boolean, from = 'partner:/out/*') =>
    `{ id: ${id}, use: transfer.copy@1, with: { from: "${from}", to: "landing:/${id}/"${then ? ', then: { delete: true }' : ''} } }`;
  const said = (steps: string) => messagesOf(`steps:\n${steps}`).filter((message) => message.includes('source'));

  test('must not be disposed of before the last one', () => {
    expect(said(`  - ${copy('a', true)}\n  - ${copy('b', false)}\n`)).toEqual([
      'the source is gone before the step `b` has surely copied it',
    ]);
    expect(said(`  - ${copy('a', true)}\n  - if: inputs.urgent\n    steps: [ ${copy('b', true)} ]\n`)).toHaveLength(1);
  });

  test('may be disposed of by the last one', () => {
    expect(said(`  - ${copy('a', false)}\n  - ${copy('b', true)}\n`)).toEqual([]);
  });

  test('must not be disposed of beside another one', () => {
    expect(said(`  - parallel: [ ${copy('a', false)}, ${copy('b', true)} ]\n`)).toEqual([
      'the source is gone before the step `a` has surely copied it',
    ]);
  });

  test('is no mistake when only one of them runs', () => {
    expect(
      said(`  - if: inputs.urgent\n    steps: [ ${copy('a', true)} ]\n    else: [ ${copy('b', true)} ]\n`),
    ).toEqual([]);
  });

  test('is another source when it is another path, or the variable of another loop', () => {
    expect(said(`  - ${copy('a', true)}\n  - ${copy('b', true, 'partner:/out/*.csv')}\n`)).toEqual([]);
    const loop = (id: string) =>
      `  - { forEach: "['x']", as: name, steps: [ ${copy(id, true, 'partner:/out/${{ name }}')} ] }\n`;
    expect(said(loop('a') + loop('b'))).toEqual([]);
    expect(
      said(
        `  - { forEach: "['x']", as: name, steps: [ ${['a', 'b'].map((id) => copy(id, true, 'partner:/out/${{ name }}')).join(', ')} ] }\n`,
      ),
    ).toHaveLength(1);
  });

  test('in an onError is no second target', () => {
    expect(said(`  - ${copy('a', true).replace(/ }$/, `, onError: [ ${copy('b', false)} ] }`)}\n`)).toEqual([]);
  });
});

describe('an action that does its work again with each attempt', () => {
  const said = (method: string, rest: string, defaults = '') =>
    check(
      [
        {
          file: 'x.yaml',
          text: `${header}${defaults}steps: [ { use: http.request@1, with: { at: partner, method: ${method} }${rest} } ]\n`,
        },
      ],
      { connectors: [] },
    ).diagnostics.filter(({ code }) => code === 'RETRY_NOT_IDEMPOTENT').length;

  test('is warned of when it is to be tried more often than it is by itself', () => {
    expect(said('POST', ', retry: { attempts: 2 }')).toBe(1);
    expect(said('POST', '', 'defaults: { retry: { attempts: 2 } }\n')).toBe(1);
    expect(said('POST', ', retry: { attempts: 1 }', 'defaults: { retry: { attempts: 2 } }\n')).toBe(0);
    expect(said('POST', ', retry: { for: 1h }')).toBe(0);
    expect(said('PUT', ', retry: { attempts: 2 }')).toBe(0);
  });
});

describe('many at the same time', () => {
  test('are warned of where they become many, once', () => {
    const loop = (maxParallel: number, steps: string, as: string) =>
      `{ forEach: "['x']", as: ${as}, maxParallel: ${maxParallel}, steps: [ ${steps} ] }`;
    const said = (step: string) =>
      messagesOf(`steps: [ ${step} ]\n`).filter((message) => message.includes('same time'));
    expect(said(loop(100, seen, 'a'))).toEqual([]);
    expect(said(loop(101, seen, 'a'))).toEqual(['up to 101 steps run at the same time here']);
    expect(said(loop(20, loop(20, loop(20, seen, 'c'), 'b'), 'a'))).toEqual([
      'up to 400 steps run at the same time here',
    ]);
  });
});

describe('what YAML 1.2 reads otherwise than expected', () => {
  test.each([
    ['labels: { version: 1.10 }', 'labels.version must be a text, not a number', 'put it in quotes'],
    ['vars: { day: 0110 }', '0110 is the number 110', 'write 110, or put it in quotes'],
    [
      'inputs: { a: { type: boolean, required: yes } }',
      'must be true or false',
      'YAML 1.2 reads yes as a text: write true',
    ],
    [
      'inputs: { a: { type: boolean, required: Off } }',
      'must be true or false',
      'YAML 1.2 reads Off as a text: write false',
    ],
    ['concurrency: { key: a, limit: 1_0 }', 'must be a whole number', 'write it without underscores: 10'],
    ['concurrency: { key: a, limit: "10" }', 'must be a whole number', 'write it without quotes'],
    ['defaults: { timeout: { stall: 30 } }', 'must be a text', 'write the unit: 30s'],
    ['defaults: { retry: { jitter: 20 } }', 'must be a text', 'write 20%'],
    ['on: { push: 1 }', 'what starts a pipeline will be called `triggers`', null],
    ['env: { A: 1 }', 'constants stand in `vars`', null],
    ['jobs: []', 'what a pipeline does stands in `steps`', null],
    ['outputs: { a: "${{ run.id }} == 5" }', 'this key is an expression as a whole', 'write run.id == 5'],
  ])('%s is told with what to write', (line, message, suggestion) => {
    const text = `pipeline: acme-orders\napiVersion: waybill/v1\n${line}\nsteps: [ ${seen} ]\n`;
    const { diagnostics } = check([{ file: 'x.yaml', text }], { connectors: [] });
    const found = diagnostics.find((diagnostic) => diagnostic.message.includes(message));
    expect(found, JSON.stringify(diagnostics)).toBeDefined();
    if (suggestion !== null) expect(found!.suggestion).toContain(suggestion);
  });
});

describe('a group that changes nothing', () => {
  test.each([
    ['{ steps: [ SEEN ] }', 1],
    ['{ steps: [ { steps: [ SEEN ] } ] }', 1],
    ['{ summary: both, steps: [ SEEN ] }', 0],
    ['{ if: inputs.urgent, steps: [ SEEN ] }', 0],
    ['{ parallel: [ { steps: [ SEEN, SEEN ] }, SEEN ] }', 0],
  ])('%s', (step, count) => {
    const said = messagesOf(`steps: [ ${step.replaceAll('SEEN', seen)} ]\n`);
    expect(said.filter((message) => message.includes('this group changes nothing'))).toHaveLength(count);
  });
});

function messagesOf(text: string): string[] {
  return check([{ file: 'x.yaml', text: header + text }], { connectors: [] }).diagnostics.map(({ message }) => message);
}

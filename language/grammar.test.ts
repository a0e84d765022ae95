import { describe, expect, test } from 'vitest';
import type { ActionBlock, ForEachBlock, ParallelBlock, Plan, WaitBlock } from '../schema/plan.ts';
import { check } from './check.ts';
import { evaluateCondition, fill } from './evaluate.ts';

const header = `pipeline: acme-orders
apiVersion: waybill/v1
inputs: { rate: { type: number, default: 5 }, urgent: { type: boolean, default: false }, names: { type: list, default: [] } }
endpoints: { partner: acme-sftp, landing: landing-zone }
`;
const list = '  - { id: list, use: files.list@1, with: { from: "partner:/in/*" } }\n';
const seen = '{ use: audit.write@1, with: { event: orders.seen } }';

describe('parallel', () => {
  const branches = `  - id: both
    parallel:
      - { id: one, use: files.list@1, with: { from: "partner:/one/*" } }
      - steps:
          - { id: two, use: files.list@1, with: { from: "partner:/two/*" } }
          - { if: steps.two.files.count > 0, use: audit.write@1, with: { event: orders.seen } }
`;

  test('runs all branches at the same time, and the others go on when one fails, unless it says otherwise', () => {
    const [both] = planOf(`steps:\n${branches}`).steps as [ParallelBlock];
    expect(both).toMatchObject({ kind: 'parallel', id: 'both', maxParallel: 2, failFast: false });
    expect(both.branches.map(({ kind, path }) => [kind, path])).toEqual([
      ['action', 'steps[0].parallel[0]'],
      ['group', 'steps[0].parallel[1]'],
    ]);
    const [other] = planOf(`steps:\n${branches}    maxParallel: 1\n    failFast: true\n`).steps;
    expect(other).toMatchObject({ maxParallel: 1, failFast: true });
  });

  test('lets later steps name what every branch gave, and no branch what another one gives', () => {
    planOf(`steps:\n${branches}outputs: { n: steps.one.files.count + steps.two.files.count }\n`);
    const twins = `  - parallel:
      - { id: one, use: files.list@1, with: { from: "partner:/one/*" } }
      - { if: steps.one.files.count > 0, use: audit.write@1, with: { event: orders.seen } }
`;
    expect(mistakesOf(`steps:\n${twins}`)).toEqual(['STEP_NOT_IN_SCOPE one']);
  });

  test('two steps of one id in different branches: the second is told where the first one is', () => {
    const [diagnostic] = diagnosticsOf(`steps:
  - parallel:
      - { id: one, use: files.list@1, with: { from: "partner:/one/*" } }
      - { id: one, use: files.list@1, with: { from: "partner:/two/*" } }
`);
    expect(diagnostic).toMatchObject({ code: 'DUPLICATE_NAME', line: 8, column: 15 });
    expect(diagnostic!.message).toBe('two steps have the id "one"; the other one is in line 7');
    const elsewhere = `[ { id: one, use: files.list@1, with: { from: "partner:/two/*" } } ]`;
    for (const place of [
      `- { id: third, wait: { until: inputs.urgent, every: 5s, deadline: 1h, steps: ${elsewhere} } }`,
      `- { wait: 1s, compensate: ${elsewhere} }`,
      `- { wait: 1s, onError: ${elsewhere} }`,
    ])
      expect(mistakesOf(`steps:\n${branches}  ${place}\n`), place).toEqual(['DUPLICATE_NAME one']);
  });

  test('many branches without a limit are warned of', () => {
    const many = Array.from({ length: 101 }, () => `      - ${seen}\n`).join('');
    expect(mistakesOf(`steps:\n  - parallel:\n${many}`)).toEqual(['MANY_AT_ONCE parallel']);
    expect(mistakesOf(`steps:\n  - maxParallel: 4\n    parallel:\n${many}`)).toEqual([]);
  });
});

describe('forEach', () => {
  test.each([
    ['3', { count: 3 }],
    ['5%', { percent: 5 }],
    ['0.5%', { percent: 0.5 }],
    ['100%', { percent: 100 }],
    ['"100%"', { percent: 100 }],
  ])('tolerates %s', (text, tolerate) => {
    const [loop] = planOf(
      `steps:\n  - forEach: inputs.names\n    tolerate: ${text}\n    failFast: true\n    steps: [ ${seen} ]\n`,
    ).steps;
    expect(loop).toMatchObject({ kind: 'forEach', tolerate, failFast: true });
  });

  test.each([['-1'], ['101%'], ['5 %'], ['1.5'], ['all'], ['1e9']])('does not take tolerate: %s', (text) => {
    const result = mistakesOf(`steps:\n  - { forEach: inputs.names, tolerate: ${text}, steps: [ ${seen} ] }\n`);
    expect(result).toEqual([`INVALID_VALUE ${text}`]);
  });

  test.each([['0'], ['0%']])('is told that tolerate: %s says nothing', (text) => {
    expect(mistakesOf(`steps:\n  - { forEach: inputs.names, tolerate: ${text}, steps: [ ${seen} ] }\n`)).toEqual([
      `TOLERATES_NOTHING ${text}`,
    ]);
  });

  test('gives the type of its items to what reads those that failed', () => {
    const text = `steps:
${list}  - { id: each, forEach: steps.list.files, steps: [ ${seen} ] }
onError:
  - { use: audit.write@1, with: { event: orders.lost, data: { x: "\${{ steps.each.failed.first(3).map(f, f.item.FIELD) }}" } } }
`;
    const plan = planOf(text.replace('FIELD', 'path'));
    expect((plan.steps[1] as ForEachBlock).head).toBe(3);
    expect(diagnosticsOf(text.replace('FIELD', 'pth'))).toMatchObject([
      { code: 'TYPE_MISMATCH', message: 'there is no field `pth`', line: 9, column: 112 },
    ]);
  });

  test('sees the error and its variable in an onError, which is for one item', () => {
    const plan = planOf(`steps:
${list}  - forEach: steps.list.files
    as: file
    steps: [ { id: gone, use: files.delete@1, with: { at: { endpoint: partner, path: "\${{ file.path }}" } } } ]
    onError:
      - when: error.kind == "forbidden" && file.size > 0
        use: audit.write@1
        with: { event: orders.lost, data: { name: "\${{ file.name }}", gone: "\${{ steps.gone.path }}" } }
`);
    expect(plan.steps[1]!.onError[0]!.if).toBe('error.kind == "forbidden" && file.size > 0');
  });
});

describe('the first rows of a file set', () => {
  test('are a list of files: loops and functions know their fields', () => {
    const plan = planOf(`steps:
${list}  - { forEach: steps.list.files.first(10), as: file, steps: [ { use: files.delete@1, with: { at: { endpoint: partner, path: "\${{ file.path }}" } } } ] }
outputs: { names: "first(steps.list.files, 25).map(f, f.name.stem())", few: steps.list.files.first(5).size() }
`);
    expect((plan.steps[0] as ActionBlock).head).toBe(25);
    expect((plan.steps[1] as ForEachBlock).items).toBe('steps.list.files.first(10)');
  });

  test('are not brought along when no expression asks', () => {
    expect((planOf(`steps:\n${list}`).steps[0] as ActionBlock).head).toBe(0);
  });

  test.each([['0'], ['101'], ['-1'], ['2.0'], ['inputs.rate'], ['"3"']])('are not given for first(%s)', (count) => {
    const text = `steps:\n${list}outputs:\n  n: 'steps.list.files.first(${count})'\n`;
    expect(diagnosticsOf(text)).toMatchObject([
      {
        code: 'INVALID_EXPRESSION',
        message: 'first() takes a number that is written out, from 1 to 100',
        line: 8,
        column: 30,
      },
    ]);
  });

  test('cannot be read by another name', () => {
    expect(diagnosticsOf(`steps:\n${list}outputs: { n: steps.list.files.head }\n`)).toMatchObject([
      { code: 'UNKNOWN_REFERENCE', suggestion: 'write steps.list.files.first(10)', column: 32 },
    ]);
  });
});

describe('wait', () => {
  test.each([
    ['30s', { for: '30s', until: null, poll: null }],
    ['2026-11-22T18:00:00+01:00', { for: '2026-11-22T18:00:00+01:00' }],
    ['"2020-01-01T00:00:00Z"', { for: '2020-01-01T00:00:00Z' }],
    [`"\${{ inputs.urgent ? '5s' : '10m' }}"`, { for: "${{ inputs.urgent ? '5s' : '10m' }}" }],
    [
      '{ until: "timestamp(run.startedAt).addDays(1)" }',
      { for: null, until: 'timestamp(run.startedAt).addDays(1)', poll: null },
    ],
  ])('takes %s', (text, expected) => {
    expect(planOf(`steps:\n  - wait: ${text}\n`).steps[0]).toMatchObject({ kind: 'wait', ...expected });
  });

  test('looks again and again, and lets later steps name what it looked at', () => {
    const plan = planOf(`steps:
  - id: ready
    wait:
      until: steps.flag.files.count > 0
      every: 30s
      deadline: 2h
      steps: [ { id: flag, use: files.list@1, with: { from: "partner:/flags/*.ok" } } ]
outputs: { at: steps.ready.until, looks: steps.ready.polls, flags: steps.flag.files.count }
`);
    const { poll, until } = plan.steps[0] as WaitBlock;
    expect(until).toBe('steps.flag.files.count > 0');
    expect(poll).toMatchObject({ everyMs: 30_000, deadlineMs: 7_200_000, steps: [{ path: 'steps[0].wait.steps[0]' }] });
  });

  test.each([
    ['5', 'must be a text or { until, every, deadline, steps }, not a number'],
    ['12:30', 'a duration such as 30s, or a time with its zone'],
    ['2026-11-22T18:00:00', 'a duration such as 30s, or a time with its zone'],
    ['2026-02-30T18:00:00Z', 'a duration such as 30s, or a time with its zone'],
    ['366d', 'a wait takes 365d at most'],
    ['"${{ inputs.rate }}"', 'but the expression gives a number'],
    ['"${{ inputs.urgent }}"', 'but the expression gives true or false'],
    ['{ until: inputs.urgent }', 'a condition needs `steps`'],
    ['{ until: inputs.rate }', '`until` must give a time with its zone, not a number'],
    ['{ until: inputs.urgent, every: 5s }', '`every` needs `steps` beside it'],
    [`{ until: inputs.urgent, deadline: 1h, steps: [ ${seen} ] }`, '`steps` of a wait need `every`'],
    [`{ until: inputs.urgent, deadline: 1h, every: 999ms, steps: [ ${seen} ] }`, 'every must be 1s or more'],
    [`{ until: inputs.urgent, deadline: 366d, every: 1s, steps: [ ${seen} ] }`, 'deadline must be 365d or less'],
    [
      `{ until: inputs.urgent, deadline: 1s, every: 2s, steps: [ ${seen} ] }`,
      'every must not be longer than the deadline',
    ],
    [`{ until: run.date, deadline: 1h, every: 1s, steps: [ ${seen} ] }`, '`until` must give true or false, not a text'],
  ])('does not take %s', (text, words) => {
    const diagnostics = diagnosticsOf(`steps:\n  - wait: ${text}\n`);
    expect(diagnostics).toHaveLength(1);
    expect(diagnostics[0]).toMatchObject({ severity: 'error', line: 6, message: expect.stringContaining(words) });
  });

  test('for a condition without a deadline is warned of', () => {
    expect(mistakesOf(`steps:\n  - wait: { until: inputs.urgent, every: 5s, steps: [ ${seen} ] }\n`)).toEqual([
      'WAIT_WITHOUT_DEADLINE until',
    ]);
  });
});

describe('when', () => {
  const handler = (entry: string) =>
    `steps:\n  - { use: audit.write@1, with: { event: a.b }, onError: [ ${entry} ] }\n`;

  test('is the condition of its step, together with if', () => {
    const [step] = planOf(handler('{ when: error.kind == "timeout", if: inputs.urgent || true, wait: 1s }')).steps;
    const condition = step!.onError[0]!.if!;
    expect(condition).toBe('(error.kind == "timeout") && (inputs.urgent || true)');
    const scope = (kind: string) => ({ error: { kind }, inputs: { urgent: false } });
    expect([evaluateCondition(condition, scope('timeout')), evaluateCondition(condition, scope('invalid'))]).toEqual([
      true,
      false,
    ]);
  });

  test.each([
    ['{ when: error.kind == "not-fuond", wait: 1s }', ['UNKNOWN_ERROR_KIND "not-fuond"']],
    ["{ when: \"error.kind in ['timeout', 'disk-full']\", wait: 1s }", ["UNUSED_ERROR_KIND 'disk-full'"]],
    ['{ when: \'"integrity" != error.kind\', wait: 1s }', ['UNUSED_ERROR_KIND "integrity"']],
    ['{ when: error.knd == "timeout", wait: 1s }', ['UNKNOWN_REFERENCE knd']],
    ['{ when: error.kind, wait: 1s }', ['TYPE_MISMATCH error.kind']],
    ['{ when: "true", wait: 1s }', ['CONSTANT_CONDITION "true"']],
    ['{ if: inputs.urgent, steps: [ { when: error.kind == "timeout", wait: 1s } ] }', ['MISPLACED_KEY when']],
    [
      `{ when: error.kind == "timeout", if: inputs.urgent, steps: [ ${seen} ], else: [ ${seen} ] }`,
      ['MISPLACED_KEY when'],
    ],
  ])('%s is told', (entry, mistakes) => {
    expect(mistakesOf(handler(entry))).toEqual(mistakes);
  });

  test('of the pipeline is held against all its steps', () => {
    const text = (kind: string) => `steps:\n${list}onError: [ { when: error.kind == "${kind}", wait: 1s } ]\n`;
    expect(mistakesOf(text('unauthenticated'))).toEqual([]);
    expect(mistakesOf(text('integrity'))).toEqual(['UNUSED_ERROR_KIND "integrity"']);
  });

  test('has no meaning outside an onError list', () => {
    expect(mistakesOf(`steps:\n  - { when: inputs.urgent, wait: 1s }\n`)).toEqual(['MISPLACED_KEY when']);
  });
});

describe('compensate', () => {
  test('sees what the step gave, and the error', () => {
    const plan = planOf(`steps:
  - id: copy
    use: transfer.copy@1
    with: { from: "partner:/a/*", to: "landing:/a/" }
    tolerate: 2
    compensate: [ { use: audit.write@1, with: { event: orders.undone, data: { t: "\${{ steps.copy.transfer }}", why: "\${{ error.kind }}" } } } ]
`);
    expect(plan.steps[0]).toMatchObject({ tolerate: { count: 2 }, compensate: [{ path: 'steps[0].compensate[0]' }] });
  });

  test.each([
    ['finally', `finally: [ { use: audit.write@1, with: { event: a.b }, compensate: [ ${seen} ] } ]`],
    [
      'onError',
      `onError: [ { if: inputs.urgent, steps: [ { use: audit.write@1, with: { event: a.b }, compensate: [ ${seen} ] } ] } ]`,
    ],
  ])('has no meaning in %s', (_, text) => {
    expect(mistakesOf(`steps: [ ${seen} ]\n${text}\n`)).toEqual(['MISPLACED_KEY compensate']);
  });

  test('of what only reads is warned of', () => {
    const text = `steps: [ { use: files.list@1, with: { from: "partner:/a/*" }, compensate: [ ${seen} ] } ]\n`;
    expect(mistakesOf(text)).toEqual(['NOTHING_TO_UNDO compensate']);
  });
});

describe('vars', () => {
  const written = (cel: string) => `{ use: audit.write@1, with: { event: a.b, data: { x: "\${{ ${cel} }}" } } }`;

  test('have the type of what they hold', () => {
    const vars =
      'vars: { port: 22, half: "${{ inputs.rate / 2 }}", ends: [{ at: a, n: 1 }, { at: b, n: 2 }], day: "${{ run.date }}!" }\n';
    const plan = planOf(`${vars}steps:
  - ${written('vars.port + 1')}
  - ${written('vars.half / 2 + 1')}
  - { forEach: vars.ends, as: end, steps: [ ${written('end.at + string(end.n) + vars.day')} ] }
`);
    expect(plan.vars.day).toBe('${{ run.date }}!');
    const filled = fill(plan.vars, { inputs: { rate: 5 }, run: { date: '2026-11-02' } }) as Plan['vars'];
    expect(filled).toMatchObject({ port: 22, half: 2.5, day: '2026-11-02!' });
    expect(fill((plan.steps[1] as ActionBlock).with, { vars: { half: 5 } })).toMatchObject({ data: { x: 3.5 } });
    expect(
      mistakesOf(`${vars}steps:
  - ${written("vars.port + 'x'")}
  - ${written('vars.prt')}
  - { forEach: vars.ends, as: end, steps: [ ${written('end.att + string(vars.half) + vars.day')} ] }
`),
    ).toEqual(["TYPE_MISMATCH vars.port + 'x'", 'UNKNOWN_REFERENCE prt', 'UNKNOWN_REFERENCE att']);
  });

  test.each([
    ['"${{ vars.b }}"', 'UNKNOWN_REFERENCE vars'],
    ['"${{ steps.list.files.count }}"', 'UNKNOWN_REFERENCE steps'],
    ['"${{ run.status }}"', 'UNKNOWN_REFERENCE status'],
  ])('cannot hold %s', (value, mistake) => {
    expect(mistakesOf(`vars: { a: ${value}, b: 1 }\nsteps: [ ${written('vars.a')}, ${written('vars.b')} ]\n`)).toEqual([
      mistake,
    ]);
  });

  test('that nothing names are told', () => {
    expect(mistakesOf(`vars: { used: 1, not: 2 }\nsteps: [ ${written('vars.used')} ]\n`)).toEqual(['UNUSED_VAR not']);
    expect(mistakesOf(`vars: { a: 1, b: 2 }\nsteps: [ ${written('size(vars)')} ]\n`)).toEqual([]);
  });
});

describe('concurrency', () => {
  test('has a key that may name inputs, vars and the run, and defaults', () => {
    const text = (concurrency: string) => `vars: { partner: acme }\nconcurrency: ${concurrency}\nsteps: [ ${seen} ]\n`;
    expect(planOf(text('{ key: "orders-${{ vars.partner }}-${{ run.pipeline }}" }')).concurrency).toEqual({
      key: 'orders-${{ vars.partner }}-${{ run.pipeline }}',
      limit: 1,
      onLimit: 'queue',
    });
    expect(planOf(text('{ key: "${{ vars.partner }}", limit: 3, onLimit: cancel-oldest }')).concurrency).toMatchObject({
      limit: 3,
      onLimit: 'cancel-oldest',
    });
  });

  test.each([
    ['{ limit: 1 }', 'MISSING_KEY'],
    ['{ key: "", limit: 1 }', 'INVALID_VALUE'],
    ['{ key: a, limit: 0 }', 'INVALID_VALUE'],
    ['{ key: a, limit: 1001 }', 'INVALID_VALUE'],
    ['{ key: a, onLimit: wait }', 'INVALID_VALUE'],
    ['{ key: "${{ steps.a.files }}" }', 'UNKNOWN_REFERENCE'],
    ['acme', 'INVALID_VALUE'],
  ])('%s is refused', (concurrency, code) => {
    expect(mistakesOf(`concurrency: ${concurrency}\nsteps: [ ${seen} ]\n`)).toEqual([expect.stringContaining(code)]);
  });

  test('is none when nothing is said', () => {
    expect(planOf(`steps: [ ${seen} ]\n`).concurrency).toBeNull();
  });
});

/** Not every case needs both endpoints of the header. */
function checked(text: string) {
  const result = check([{ file: 'x.yaml', text: header + text }], { connectors: [] });
  return { ...result, diagnostics: result.diagnostics.filter(({ code }) => code !== 'UNUSED_ALIAS') };
}

function diagnosticsOf(text: string) {
  return checked(text).diagnostics;
}

/** The code of each mistake, and the words that it marks. */
function mistakesOf(text: string): string[] {
  const lines = (header + text).split('\n');
  return diagnosticsOf(text).map(({ code, line, column, endLine, endColumn }) => {
    const end = endLine === line ? endColumn - 1 : undefined;
    return `${code} ${lines[line - 1]!.slice(column - 1, end)}`;
  });
}

function planOf(text: string): Plan {
  const { diagnostics, documents } = checked(text);
  expect(diagnostics).toEqual([]);
  const [document] = documents;
  if (document?.kind !== 'pipeline') throw new Error('not a pipeline');
  return document.plan;
}

import { describe, expect, test } from 'vitest';
import { everyWay, plan, testPort, told, walkAll } from '../test/walks.ts';

describe('what a failure undoes', () => {
  const text = `
steps:
  - { id: one, use: files.delete@1, with: { at: "partner:/one" }, compensate: [ { use: audit.write@1, with: { event: undo.one } } ] }
  - if: "true"
    steps:
      - { id: two, use: files.delete@1, with: { at: "partner:/two" }, compensate: [ { use: files.delete@1, with: { at: "partner:/undo" } }, { use: audit.write@1, with: { event: undo.two } } ] }
      - { use: files.delete@1, if: "false", with: { at: "partner:/never" }, compensate: [ { use: audit.write@1, with: { event: undo.never } } ] }
  - use: files.delete@1
    with: { at: "partner:/three" }
    compensate: [ { use: audit.write@1, with: { event: undo.three } } ]
    onError: [ { use: audit.write@1, with: { event: three.failed } } ]
onError: [ { use: audit.write@1, with: { event: all.broken, data: { kind: "\${{ error.kind }}" } } } ]
finally: [ { use: audit.write@1, with: { event: all.over } } ]
`;

  test('is what was done, last first, between the onError of the step and that of the pipeline', async () => {
    const { port } = await everyWay(plan(text), { fails: { '/three': 'exists' } });
    expect(told(port)).toEqual([
      '/one',
      '/two',
      '/three',
      'three.failed',
      '/undo',
      'undo.two',
      'undo.one',
      'all.broken {"kind":"exists"}',
      'all.over',
    ]);
  });

  test('goes on when undoing fails, and the first failure is told', async () => {
    const { port, walk } = await everyWay(plan(text), { fails: { '/three': 'exists', '/undo': 'forbidden' } });
    expect(told(port).slice(4)).toEqual(['/undo', 'undo.one', 'all.broken {"kind":"exists"}', 'all.over']);
    expect(walk.failure?.kind).toBe('exists');
  });

  test('is undone for a cancellation too, without any onError', async () => {
    const port = testPort({ cancelAfterCalls: 3 });
    const walk = await walkAll(plan(text), port);
    expect(told(port)).toEqual(['/one', '/two', '/three', '/undo', 'undo.two', 'undo.one', 'all.over']);
    expect(walk).toMatchObject({ status: 'cancelled' });
  });

  test('is known to the compensations of a branch that had ended before another stopped the rest', async () => {
    // In a loop, so that another item may suspend the walk at the very moment when the second branch has failed.
    const branches = `
inputs: { names: { type: list } }
steps:
  - forEach: inputs.names
    as: name
    steps:
      - parallel:
          - { id: one, use: files.delete@1, with: { at: "partner:/\${{ name }}" }, compensate: [ { use: audit.write@1, with: { event: undo.one, data: { path: "\${{ steps.one.path }}" } } } ] }
          - { use: files.delete@1, with: { at: "partner:/broken" }, onError: [ { use: audit.write@1, with: { event: b.failed } } ] }
        maxParallel: 1
        failFast: true
`;
    const { port } = await everyWay(plan(branches), { fails: { '/broken': 'exists' } });
    const undone = told(port).filter((call) => call.startsWith('undo'));
    expect(undone.sort()).toEqual(['/a', '/b', '/c', '/d'].map((path) => `undo.one {"path":"${path}"}`));
  });

  test('stays within the item of a loop', async () => {
    const items = `
inputs: { names: { type: list } }
steps:
  - id: each
    forEach: inputs.names
    as: name
    tolerate: 1
    steps:
      - { use: files.delete@1, with: { at: "partner:/\${{ name }}" }, compensate: [ { use: audit.write@1, with: { event: item.undone, data: { name: "\${{ name }}" } } } ] }
      - { use: files.delete@1, with: { at: "partner:/x\${{ name }}" } }
`;
    const { port } = await everyWay(plan(items), { fails: { '/xc': 'exists' } });
    expect(told(port).filter((call) => call.startsWith('item'))).toEqual(['item.undone {"name":"c"}']);
  });
});

describe('the end of a run', () => {
  test('is failed when only finally failed, and says so', async () => {
    const text = `
steps: [ { use: files.delete@1, with: { at: "partner:/a" } } ]
finally: [ { use: files.delete@1, with: { at: "partner:/lock" } } ]
`;
    const { walk } = await everyWay(plan(text), { fails: { '/lock': 'forbidden' } });
    expect(walk).toMatchObject({ status: 'failed', failure: { message: 'in finally: /lock failed' } });
  });

  test('is not changed by a cancellation during finally, and finally is done whole', async () => {
    const text = `
steps: [ { use: files.delete@1, with: { at: "partner:/a" } } ]
finally:
  - { use: audit.write@1, with: { event: first.last } }
  - { use: audit.write@1, with: { event: second.last, data: { status: "\${{ run.status }}" } } }
`;
    const port = testPort({ cancelAfterCalls: 2 });
    const walk = await walkAll(plan(text), port);
    expect(told(port)).toEqual(['/a', 'first.last', 'second.last {"status":"succeeded"}']);
    expect(walk).toMatchObject({ status: 'succeeded' });
  });

  test('sees its vars, filled once', async () => {
    const text = `
inputs: { names: { type: list } }
vars: { folder: "/in/\${{ run.date }}", depth: 3 }
steps: [ { use: audit.write@1, with: { event: vars.seen, data: { folder: "\${{ vars.folder }}", depth: "\${{ vars.depth + 1 }}" } } } ]
`;
    const { port } = await everyWay(plan(text));
    expect(told(port)).toEqual(['vars.seen {"folder":"/in/2026-11-22","depth":4}']);
  });

  test('runs of the pipeline’s onError only what fits the error', async () => {
    const text = `
steps: [ { use: files.delete@1, with: { at: "partner:/a" } } ]
onError:
  - { when: error.kind == "not-found", use: audit.write@1, with: { event: item.gone } }
  - { when: 'error.kind in ["forbidden", "unauthenticated"]', use: audit.write@1, with: { event: no.right } }
`;
    const { port } = await everyWay(plan(text), { fails: { '/a': 'forbidden' } });
    expect(told(port)).toEqual(['/a', 'no.right']);
  });
});

describe('what failed', () => {
  test('has told its counts, for the handlers that run afterwards', async () => {
    const text = `
inputs: { names: { type: list } }
steps:
  - { id: each, forEach: inputs.names, as: name, steps: [ { use: files.delete@1, with: { at: "partner:/\${{ name }}" } } ] }
onError:
  - { use: audit.write@1, with: { event: loop.failed, data: { failed: "\${{ steps.each.failed.count }}", which: "\${{ steps.each.failed.first(2).map(f, f.item) }}" } } }
`;
    const { port } = await everyWay(plan(text), { fails: { '/b': 'exists', '/c': 'exists', '/d': 'exists' } });
    expect(told(port)).toContain('loop.failed {"failed":3,"which":["b","c"]}');
  });
});

import { describe, expect, test } from 'vitest';
import type { Plan } from '../schema/plan.ts';
import { resolveInputs } from './inputs.ts';

const declared: Plan['inputs'] = {
  name: { type: 'string', required: true },
  count: { type: 'integer', default: 3, required: false },
  ratio: { type: 'number', required: false },
  urgent: { type: 'boolean', required: false },
  list: { type: 'list', required: false },
  map: { type: 'map', required: false },
};

describe('the inputs of a run', () => {
  test('take defaults for what is not given, and leave out what is optional', () => {
    expect(resolveInputs(declared, { name: 'x' })).toEqual({ ok: true, inputs: { name: 'x', count: 3 } });
  });

  test('keep given values of the right type', () => {
    const given = { name: 'x', count: 5, ratio: 2.5, urgent: true, list: [1, 'a'], map: { k: null } };
    expect(resolveInputs(declared, given)).toEqual({ ok: true, inputs: given });
  });

  test('read texts of the command line as the declared type', () => {
    const given = { name: '5', count: '-7', ratio: '2.5', urgent: 'false', list: '[1,2]', map: '{"k":1}' };
    expect(resolveInputs(declared, given)).toEqual({
      ok: true,
      inputs: { name: '5', count: -7, ratio: 2.5, urgent: false, list: [1, 2], map: { k: 1 } },
    });
  });

  test.each([
    [{}, 'name', 'is required'],
    [{ name: null }, 'name', 'is required'],
    [{ name: 'x', cuont: 1 }, 'cuont', 'did you mean count?'],
    [{ name: 5 }, 'name', 'must be a text, not a number'],
    [{ name: 'x', count: 2.5 }, 'count', 'must be a whole number'],
    [{ name: 'x', count: '3 ' }, 'count', 'must be a whole number, not a text'],
    [{ name: 'x', count: 2 ** 60 }, 'count', 'must be a whole number'],
    [{ name: 'x', ratio: Number.NaN }, 'ratio', 'must be a number'],
    [{ name: 'x', urgent: 'yes' }, 'urgent', 'must be true or false'],
    [{ name: 'x', list: 'a,b' }, 'list', 'must be a list, not a text'],
    [
      { name: 'x', list: Array.from({ length: 1001 }, () => 1) },
      'list',
      'holds 1001 elements in one list or mapping; 1000 is the most',
    ],
    [{ name: 'x'.repeat(20_000) }, 'name', 'holds a text of 20000 characters; 16384 is the most'],
    [{ name: 'x', map: [] }, 'map', 'must be a mapping, not a list'],
  ])('%# are refused with the field', (given, field, words) => {
    const result = resolveInputs(declared, given as Record<string, unknown>);
    expect(result.ok).toBe(false);
    const problem = result.ok ? undefined : result.problems.find((candidate) => candidate.field === field);
    expect(problem?.message).toContain(words);
  });

  test('are refused all at once', () => {
    const result = resolveInputs(declared, { count: 'x', other: 1 });
    expect(result.ok ? [] : result.problems.map(({ field }) => field)).toEqual(['other', 'name', 'count']);
  });

  test('of 10 MB, or very deep, are refused with the limit, before they take long', () => {
    const large = 'x'.repeat(10_000_000);
    let deep: unknown = 1;
    for (let depth = 0; depth < 5_000; depth++) deep = [deep];
    const started = performance.now();
    const words = (given: Record<string, unknown>) => {
      const result = resolveInputs(declared, given);
      return result.ok ? '' : result.problems.map(({ message }) => message).join('; ');
    };
    expect(words({ name: large })).toBe('the input name holds a text of 10000000 characters; 16384 is the most');
    expect(words({ name: 'x', list: Array.from({ length: 1_000 }, () => 'x'.repeat(10_000)) })).toBe(
      'the inputs have 9.5 MiB as JSON; a run takes 64.0 KiB at most: put what is larger into a file',
    );
    expect(words({ name: 'x', list: deep })).toBe('the input list is nested more than 16 deep');
    expect(words({ name: 'x', list: '['.repeat(60_000) })).toContain('must be a list, not a text');
    expect(words({ name: 'x', [large]: 1 }).length).toBeLessThan(300);
    const many = Object.fromEntries(Array.from({ length: 100_000 }, (_, index) => [`other${index}`, 1]));
    expect(words({ name: 'x', ...many })).toContain('99980 more inputs are not declared');
    expect(performance.now() - started).toBeLessThan(5_000);
  });

  test('that JavaScript objects have anyway are not declared', () => {
    expect(resolveInputs(declared, { name: 'x', toString: 'y' }).ok).toBe(false);
  });
});

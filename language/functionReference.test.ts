import { describe, expect, test } from 'vitest';
import { allowedFunctions } from './celFunctions.ts';
import { evaluate } from './evaluate.ts';
import { exampleScope, functionReference } from './functionReference.ts';

describe('the reference of functions', () => {
  test('holds every function that expressions may call, and no other', () => {
    expect(functionReference.map(({ name }) => name).sort()).toEqual([...allowedFunctions].sort());
  });

  test.each(functionReference)('$name: $example', ({ name, example, gives, summary, signatures }) => {
    expect(evaluate(example, exampleScope)).toEqual(gives);
    expect(example).toContain(`${name}(`);
    expect(summary).toMatch(/\.$/);
    expect(signatures.every((signature) => signature.includes('('))).toBe(true);
  });
});

/** What of the language runs inside the workflow sandbox. */
export * from '../../language/evaluate.ts';
export * from '../../language/inputs.ts';
export * from '../../language/location.ts';

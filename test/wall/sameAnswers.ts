import { expect } from 'vitest';
import { type GraphqlAnswer, post } from '../servers/api.ts';
import type { Arguments } from './schemaArguments.ts';
import type { Question } from './schemaQuestions.ts';

export function askAt(url: string, key: string | null, { query, variables }: Question): Promise<GraphqlAnswer> {
  return post(url, key, JSON.stringify({ query, variables }));
}

/**
 * Asks with what is another tenant's and with what is nobody's: neither answer holds any of the other's texts, and they
 * differ in the names alone.
 */
export async function expectAlike(
  ask: (asked: Question) => Promise<GraphqlAnswer>,
  canaries: readonly string[],
  named: Question,
  nobodys: Question,
): Promise<GraphqlAnswer['body']> {
  const answer = await ask(named);
  const other = await ask(nobodys);
  expect(canariesIn(canaries, answer, named.variables)).toEqual([]);
  expect([answer.status, alike(answer.body, named.variables)], named.query).toEqual([
    other.status,
    alike(other.body, nobodys.variables),
  ]);
  return answer.body;
}

/** Texts of a tenant in an answer, but for those that the question itself held. */
export function canariesIn(
  canaries: readonly string[],
  { body, headers }: Pick<GraphqlAnswer, 'body' | 'headers'>,
  variables: Arguments,
): string[] {
  const text = JSON.stringify([body, [...headers]]);
  const asked = JSON.stringify(variables);
  const unasked = leavesOf(variables).reduce(
    (rest, leaf) => rest.replaceAll(JSON.stringify(leaf).slice(1, -1), ''),
    text,
  );
  return canaries.filter((canary) => unasked.includes(canary) && !asked.includes(canary));
}

/** What is new in every answer: secrets that were made for it, and where they are. */
const news = [
  'secret',
  'kid',
  'keyId',
  'uri',
  'ticket',
  'sessionId',
  'hash',
  'cursor',
  'startCursor',
  'endCursor',
  'userId',
];

/** The answer with what was asked for, ids and times replaced by what they are. */
export function alike(body: unknown, variables: Arguments): unknown {
  const leaves = leavesOf(variables);
  const text = JSON.stringify(body, (key, value: unknown) => {
    if (news.includes(key) && value !== null) return `<${key}>`;
    if (typeof value === 'number' && leaves.includes(String(value)))
      return `<argument ${leaves.indexOf(String(value))}>`;
    if (typeof value !== 'string') return value;
    return leaves.reduce((rest, leaf, at) => rest.replaceAll(leaf, `<argument ${at}>`), value);
  });
  return JSON.parse(
    text
      .replaceAll(/[a-z]+_[0-9a-f]{32}/g, '<id>')
      .replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, '<uuid>')
      .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, '<time>'),
  );
}

/** The texts and large numbers among the arguments, in their order; of a document its words too. */
function leavesOf(value: unknown): string[] {
  if (typeof value === 'string' && value.includes('\n')) return [value, ...(value.match(/[\w-]{6,}/g) ?? [])];
  if (typeof value === 'string') return value.length > 5 ? [value] : [];
  if (typeof value === 'number') return value > 1_000 ? [String(value)] : [];
  return value === null || typeof value !== 'object' ? [] : Object.values(value).flatMap(leavesOf);
}

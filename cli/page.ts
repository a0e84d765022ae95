import { type Command, InvalidArgumentError } from 'commander';
import type { ApiClient } from './client.ts';

export interface PageOptions {
  first: number;
  after?: string;
}

const defaultPage = 20;
const maxPage = 100;

/** `--first` and `--after` of a list. */
export function addPageOptions(command: Command): Command {
  return command
    .option('--first <count>', `how many, 1 to ${maxPage}`, parseCount, defaultPage)
    .option('--after <cursor>', 'go on after this cursor');
}

/** One page of a connection that the query names `page`. */
export async function readPage<Item>(
  client: ApiClient,
  { first, after }: PageOptions,
  { query, variables = {} }: { query: string; variables?: Record<string, unknown> },
): Promise<{ items: Item[]; next: string | null }> {
  const { page } = await client.request<{ page: Connection<Item> }>(query, { ...variables, first, after });
  return {
    items: page.edges.map(({ node }) => node),
    next: page.pageInfo.hasNextPage ? page.pageInfo.endCursor : null,
  };
}

/** Pages that a search reads before it asks whether to go on: most of them may be empty. */
const searchPages = 20;

/**
 * One page of a search whose pages may hold less than asked for and still go on: read on until it is full, there is no
 * more, or much has been looked at. `next` then goes on from there.
 */
export async function searchPage<Item>(
  client: ApiClient,
  { first, after }: PageOptions,
  request: { query: string; variables?: Record<string, unknown> },
): Promise<{ items: Item[]; next: string | null }> {
  const items: Item[] = [];
  let next = after ?? null;
  for (let read = 0; read < searchPages && items.length < first; read++) {
    const wanted = { first: first - items.length, ...(next === null ? {} : { after: next }) };
    const page = await readPage<Item>(client, wanted, request);
    items.push(...page.items);
    next = page.next;
    if (next === null) break;
  }
  return { items, next };
}

/** Every item of a connection, page by page, up to a limit. */
export async function readAll<Item>(
  client: ApiClient,
  request: { query: string; variables?: Record<string, unknown> },
  maxItems: number,
): Promise<Item[]> {
  const items: Item[] = [];
  for (let after: string | undefined; items.length < maxItems; ) {
    const page = await readPage<Item>(client, { first: maxPage, ...(after === undefined ? {} : { after }) }, request);
    items.push(...page.items);
    if (page.next === null) break;
    after = page.next;
  }
  return items;
}

interface Connection<Item> {
  edges: { node: Item }[];
  pageInfo: { hasNextPage: boolean; endCursor: string | null };
}

function parseCount(text: string): number {
  const count = Number(text);
  if (Number.isInteger(count) && count >= 1 && count <= maxPage) return count;
  throw new InvalidArgumentError(`a whole number from 1 to ${maxPage}.`);
}

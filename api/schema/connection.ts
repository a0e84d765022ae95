import type { ObjectRef } from '@pothos/core';
import type { Permission } from '../../identity/permissions.ts';
import { limits } from '../limits.ts';
import type { Page } from '../pages.ts';
import { type ApiTypes, builder } from './builder.ts';

const PageInfoType = builder.objectRef<Page<unknown>>('PageInfo').implement({
  fields: (t) => ({
    hasNextPage: t.exposeBoolean('hasNextPage'),
    hasPreviousPage: t.exposeBoolean('hasPreviousPage'),
    startCursor: t.string({ nullable: true, resolve: ({ rows, cursorOf }) => (rows[0] ? cursorOf(rows[0]) : null) }),
    endCursor: t.string({
      nullable: true,
      resolve: ({ rows, cursorOf, endCursor }) => {
        const last = rows.at(-1);
        return endCursor ?? (last ? cursorOf(last) : null);
      },
    }),
  }),
});

/** `RunConnection` and `RunEdge` of a node type `Run`. The permission guards cursors too: they tell that rows are there. */
export function connection<Row>(name: string, node: ObjectRef<ApiTypes, Row, Row>, may: Permission) {
  const edge = builder.objectRef<{ page: Page<Row>; row: Row }>(`${name}Edge`).implement({
    authScopes: { may },
    fields: (t) => ({
      cursor: t.string({ resolve: ({ page, row }) => page.cursorOf(row) }),
      node: t.field({ type: node, resolve: ({ row }) => row as never }),
    }),
  });
  return builder.objectRef<Page<Row>>(`${name}Connection`).implement({
    authScopes: { may },
    fields: (t) => ({
      edges: t.field({ type: [edge], resolve: (page) => page.rows.map((row) => ({ page, row })) }),
      pageInfo: t.field({ type: PageInfoType, resolve: (page) => page as Page<unknown> }),
    }),
  });
}

/** The arguments of every connection. */
export function pageArguments() {
  return builder.args((t) => ({
    first: t.int({ defaultValue: limits.pageDefault, description: `1 to ${limits.pageMost}` }),
    after: t.string({ description: 'endCursor of the page before' }),
  }));
}

import { type IdKind, idKind, rowId } from '../../schema/names.ts';
import type { Loaders } from '../loaders.ts';
import { builder } from './builder.ts';
import { NodeType } from './types.ts';

NodeType.implement({ fields: (t) => ({ id: t.exposeID('id') }) });

const typeOfKind: Record<IdKind, string> = {
  run: 'Run',
  transfer: 'Transfer',
  delivery: 'Delivery',
  pipeline: 'Pipeline',
  pipelineVersion: 'PipelineVersion',
  endpoint: 'Endpoint',
  webhook: 'Webhook',
  webhookDelivery: 'WebhookDelivery',
  session: 'Session',
  auditEvent: 'AuditEvent',
  apiKey: 'ApiKey',
  principal: 'Principal',
  secret: 'Secret',
  integration: 'Integration',
};

/** The row of a public id of that kind in the caller's tenant, or null; what has no such form is null too. */
export async function findNode<Kind extends keyof Loaders & IdKind>(
  loaders: Loaders,
  kind: Kind,
  id: string,
): Promise<Awaited<ReturnType<Loaders[Kind]['load']>> | null> {
  const uuid = rowId(kind, id);
  if (uuid === undefined) return null;
  return (await loaders[kind].load(uuid)) as Awaited<ReturnType<Loaders[Kind]['load']>>;
}

builder.queryField('node', (t) =>
  t.field({
    type: NodeType,
    nullable: true,
    description: 'Whatever has that id, if the caller may see it.',
    authScopes: { signedIn: true },
    args: { id: t.arg.id({ required: true }) },
    resolve: async (_, { id }, { loaders }) => {
      const kind = idKind(id);
      if (kind === undefined) return null;
      const row = await findNode(loaders, kind, id);
      if (row === null) return null;
      // The type's own permission guards its fields.
      return { ...row, __typename: typeOfKind[kind] };
    },
  }),
);

/** An id that no row has: what a filter looks for when it was given something that is no id. */
export const nowhere = '00000000-0000-0000-0000-000000000000';

import type { ConnectorEndpoint } from '../../prisma/generated/client.ts';
import { checkEndpoint } from '../operations/checkEndpoint.ts';
import { removeEndpoint } from '../operations/removeEndpoint.ts';
import { builder } from './builder.ts';
import { checkOf, EndpointCheckType } from './endpoint.ts';
import { asResult, forbidden, resultUnion } from './errors.ts';
import { missing } from './missing.ts';
import { EndpointType } from './types.ts';

const CheckPayload = builder.objectRef<{ endpoint: ConnectorEndpoint }>('CheckEndpointPayload').implement({
  fields: (t) => ({
    endpoint: t.expose('endpoint', { type: EndpointType }),
    check: t.field({
      type: EndpointCheckType,
      resolve: ({ endpoint }) => checkOf(endpoint) ?? missing('the check of an endpoint'),
    }),
  }),
});
const RemovePayload = builder.objectRef<{ name: string }>('RemoveEndpointPayload').implement({
  fields: (t) => ({ name: t.exposeString('name') }),
});

const CheckInput = builder.inputType('CheckEndpointInput', { fields: (t) => ({ name: t.string({ required: true }) }) });
const RemoveInput = builder.inputType('RemoveEndpointInput', {
  fields: (t) => ({ name: t.string({ required: true }) }),
});

builder.mutationFields((t) => ({
  checkEndpoint: t.field({
    type: resultUnion('CheckEndpointResult', CheckPayload, ['NotFoundError', 'ForbiddenError']),
    description: 'Reaches the endpoint and signs in; a failure there is data of the check.',
    authScopes: { may: 'endpoint:check' },
    unauthorizedResolver: forbidden,
    args: { input: t.arg({ type: CheckInput, required: true }) },
    resolve: (_, { input }, { operation }) => asResult(() => checkEndpoint(operation, input)),
  }),
  removeEndpoint: t.field({
    type: resultUnion('RemoveEndpointResult', RemovePayload, ['NotFoundError', 'ConflictError', 'ForbiddenError']),
    description: 'Removes an endpoint that no live pipeline and no run uses, and its secrets.',
    authScopes: { may: 'endpoint:change' },
    unauthorizedResolver: forbidden,
    args: { input: t.arg({ type: RemoveInput, required: true }) },
    resolve: (_, { input }, { operation }) => asResult(() => removeEndpoint(operation, input)),
  }),
}));

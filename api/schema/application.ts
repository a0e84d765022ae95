import type { Application } from '../../prisma/generated/client.ts';
import { disableApplication, registerApplication } from '../operations/applications.ts';
import { pageByName } from '../pages.ts';
import { builder } from './builder.ts';
import { connection, pageArguments } from './connection.ts';
import { asResult, forbidden, resultUnion } from './errors.ts';

const ApplicationType = builder.objectRef<Application>('Application').implement({
  description: 'An application of yours that users sign in with.',
  authScopes: { may: 'application:read' },
  fields: (t) => ({
    applicationId: t.exposeInt('id'),
    name: t.exposeString('name'),
    createdAt: t.expose('createdAt', { type: 'DateTime' }),
    disabledAt: t.expose('disabledAt', { type: 'DateTime', nullable: true }),
  }),
});

const ApplicationConnection = connection('Application', ApplicationType, 'application:read');

builder.queryField('applications', (t) =>
  t.field({
    type: ApplicationConnection,
    description: "By name. Waybill's own, below 1000, are not among them.",
    authScopes: { may: 'application:read' },
    args: pageArguments(),
    resolve: (_, page, { read }) =>
      read(({ db }, tenantId) =>
        pageByName(page, ({ after, orderBy, take }) =>
          db.application.findMany({ where: { AND: [{ tenantId }, after] }, orderBy, take }),
        ),
      ),
  }),
);

const ApplicationPayload = builder.objectRef<{ application: Application }>('ApplicationPayload').implement({
  fields: (t) => ({ application: t.expose('application', { type: ApplicationType }) }),
});
const RegisterApplicationInput = builder.inputType('RegisterApplicationInput', {
  fields: (t) => ({
    id: t.int({ required: true, description: '1000 to 2147483647' }),
    name: t.string({ required: true }),
  }),
});
const DisableApplicationInput = builder.inputType('DisableApplicationInput', {
  fields: (t) => ({ id: t.int({ required: true }) }),
});

builder.mutationFields((t) => ({
  registerApplication: t.field({
    type: resultUnion('RegisterApplicationResult', ApplicationPayload, [
      'InvalidInputError',
      'ConflictError',
      'ForbiddenError',
    ]),
    description: 'Lets users sign in with that application; a disabled one is let in again.',
    authScopes: { may: 'application:change' },
    unauthorizedResolver: forbidden,
    args: { input: t.arg({ type: RegisterApplicationInput, required: true }) },
    resolve: (_, { input }, { operation }) => asResult(() => registerApplication(operation, input)),
  }),
  disableApplication: t.field({
    type: resultUnion('DisableApplicationResult', ApplicationPayload, ['NotFoundError', 'ForbiddenError']),
    description: 'Nobody signs in with it from now on; sessions that stand go on.',
    authScopes: { may: 'application:change' },
    unauthorizedResolver: forbidden,
    args: { input: t.arg({ type: DisableApplicationInput, required: true }) },
    resolve: (_, { input }, { operation }) => asResult(() => disableApplication(operation, input)),
  }),
}));

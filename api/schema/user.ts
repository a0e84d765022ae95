import type { Principal } from '../../prisma/generated/client.ts';
import { publicId } from '../../schema/names.ts';
import { confirmAuthenticator, enrolAuthenticator, resetAuthenticator } from '../operations/authenticators.ts';
import { changeUser, createUser, disableUser, enableUser, setPassword } from '../operations/users.ts';
import { pageByName } from '../pages.ts';
import { builder } from './builder.ts';
import { connection, pageArguments } from './connection.ts';
import { asResult, forbidden, resultUnion } from './errors.ts';

/** Who signs in. It has no rule of its own: whatever gives one has, and a sign-in shows its own user. */
export const UserType = builder.objectRef<Principal>('User').implement({
  description: 'A person, or an application that signs in with a password.',
  fields: (t) => ({
    id: t.id({ resolve: (user) => publicId('principal', user.id) }),
    userId: t.exposeInt('userNumber', { description: 'The integer that the document calls UserID.' }),
    userName: t.exposeString('name'),
    email: t.exposeString('email', { nullable: true }),
    firstName: t.exposeString('firstName', { nullable: true }),
    lastName: t.exposeString('lastName', { nullable: true }),
    role: t.exposeString('role'),
    createdAt: t.expose('createdAt', { type: 'DateTime' }),
    disabledAt: t.expose('disabledAt', { type: 'DateTime', nullable: true }),
  }),
});

const UserConnection = connection('User', UserType, 'user:read');

builder.queryField('users', (t) =>
  t.field({
    type: UserConnection,
    description: 'By name.',
    authScopes: { may: 'user:read' },
    args: pageArguments(),
    resolve: (_, page, { read }) =>
      read(({ db }, tenantId) =>
        pageByName(page, ({ after, orderBy, take }) =>
          db.principal.findMany({ where: { AND: [{ tenantId, kind: 'user' }, after] }, orderBy, take }),
        ),
      ),
  }),
);

const UserPayload = builder.objectRef<{ user: Principal }>('UserPayload').implement({
  fields: (t) => ({ user: t.expose('user', { type: UserType }) }),
});
const EnrolAuthenticatorPayload = builder.objectRef<{ uri: string }>('EnrolAuthenticatorPayload').implement({
  fields: (t) => ({
    uri: t.exposeString('uri', { description: 'otpauth:// with the secret, for an authenticator. Shown once.' }),
  }),
});

const CreateUserInput = builder.inputType('CreateUserInput', {
  fields: (t) => ({
    userName: t.string({ required: true }),
    email: t.string(),
    firstName: t.string(),
    lastName: t.string(),
    role: t.string({ description: 'uploader when not given' }),
    password: t.string({ required: true, description: '12 to 1,024 characters' }),
  }),
});
const ChangeUserInput = builder.inputType('ChangeUserInput', {
  fields: (t) => ({
    userName: t.string({ required: true }),
    email: t.string({ description: 'stays when not given, as the others do' }),
    firstName: t.string({ description: 'empty: the user has none from now on' }),
    lastName: t.string({ description: 'empty: the user has none from now on' }),
    role: t.string(),
  }),
});
const UserNameInput = builder.inputType('UserNameInput', {
  fields: (t) => ({ userName: t.string({ required: true }) }),
});
const SetPasswordInput = builder.inputType('SetPasswordInput', {
  fields: (t) => ({
    userName: t.string({ description: "the caller's own when not given; that of others is for owners" }),
    password: t.string({ required: true, description: '12 to 1,024 characters' }),
    currentPassword: t.string({ description: "for the caller's own" }),
    oneTimeCode: t.string({ description: 'of the authenticator, beside currentPassword' }),
    oneTime: t.boolean({ description: 'of somebody else: good for one sign-in, which may only set another one' }),
  }),
});
const EnrolAuthenticatorInput = builder.inputType('EnrolAuthenticatorInput', {
  fields: (t) => ({
    currentPassword: t.string({ required: true }),
    oneTimeCode: t.string({ description: 'of the authenticator that counts already' }),
  }),
});
const ConfirmAuthenticatorInput = builder.inputType('ConfirmAuthenticatorInput', {
  fields: (t) => ({ currentPassword: t.string({ required: true }), oneTimeCode: t.string({ required: true }) }),
});

const UserResult = resultUnion('UserResult', UserPayload, [
  'InvalidInputError',
  'NotFoundError',
  'ConflictError',
  'ForbiddenError',
]);

builder.mutationFields((t) => ({
  createUser: t.field({
    type: UserResult,
    description: 'A user who signs in with that password.',
    authScopes: { may: 'user:change' },
    unauthorizedResolver: forbidden,
    args: { input: t.arg({ type: CreateUserInput, required: true }) },
    resolve: (_, { input }, { operation }) => asResult(() => createUser(operation, input)),
  }),
  changeUser: t.field({
    type: UserResult,
    description: 'Gives a user another e-mail address, first or last name, or role.',
    authScopes: { may: 'user:change' },
    unauthorizedResolver: forbidden,
    args: { input: t.arg({ type: ChangeUserInput, required: true }) },
    resolve: (_, { input }, { operation }) => asResult(() => changeUser(operation, input)),
  }),
  disableUser: t.field({
    type: UserResult,
    description: "Ends a user's sessions and keys from now on.",
    authScopes: { may: 'user:change' },
    unauthorizedResolver: forbidden,
    args: { input: t.arg({ type: UserNameInput, required: true }) },
    resolve: (_, { input }, { operation }) => asResult(() => disableUser(operation, input)),
  }),
  enableUser: t.field({
    type: UserResult,
    description: 'Lets a disabled or a locked user in again.',
    authScopes: { may: 'user:change' },
    unauthorizedResolver: forbidden,
    args: { input: t.arg({ type: UserNameInput, required: true }) },
    resolve: (_, { input }, { operation }) => asResult(() => enableUser(operation, input)),
  }),
  setPassword: t.field({
    type: UserResult,
    description: "The caller's own password, or, for owners, that of somebody else.",
    authScopes: { signedIn: true },
    unauthorizedResolver: forbidden,
    args: { input: t.arg({ type: SetPasswordInput, required: true }) },
    resolve: (_, { input }, { operation }) => asResult(() => setPassword(operation, input)),
  }),
  enrolAuthenticator: t.field({
    type: resultUnion('EnrolAuthenticatorResult', EnrolAuthenticatorPayload, ['InvalidInputError', 'ForbiddenError']),
    description: "A secret for the caller's own authenticator; it counts from its first good code on.",
    authScopes: { signedIn: true },
    unauthorizedResolver: forbidden,
    args: { input: t.arg({ type: EnrolAuthenticatorInput, required: true }) },
    resolve: (_, { input }, { operation }) => asResult(() => enrolAuthenticator(operation, input)),
  }),
  confirmAuthenticator: t.field({
    type: UserResult,
    description: "Makes the caller's enrolled authenticator count; a sign-in with its code does so too.",
    authScopes: { signedIn: true },
    unauthorizedResolver: forbidden,
    args: { input: t.arg({ type: ConfirmAuthenticatorInput, required: true }) },
    resolve: (_, { input }, { operation }) => asResult(() => confirmAuthenticator(operation, input)),
  }),
  resetAuthenticator: t.field({
    type: UserResult,
    description: "Forgets a user's authenticator.",
    authScopes: { may: 'user:change' },
    unauthorizedResolver: forbidden,
    args: { input: t.arg({ type: UserNameInput, required: true }) },
    resolve: (_, { input }, { operation }) => asResult(() => resetAuthenticator(operation, input)),
  }),
}));

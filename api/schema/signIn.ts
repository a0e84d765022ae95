import { WaybillError } from '../../schema/errors.ts';
import { closePresented } from '../operations/closeSession.ts';
import {
  openAsUser,
  openWithPassword,
  openWithTicket,
  openWithTicketEx,
  type PasswordProof,
  type ServiceProof,
  type SessionData,
  type SignInFacts,
  type SignInOperation,
} from '../operations/signIn.ts';
import { builder } from './builder.ts';
import { asSignInResult, resultUnion } from './errors.ts';
import { UserType } from './user.ts';

const SessionDataType = builder.objectRef<SessionData>('SessionData').implement({
  description: 'What the document calls FTHSessionData.',
  fields: (t) => ({
    sessionId: t.exposeString('sessionId', {
      description: 'Goes into every later call: Authorization: Bearer wbs_...',
    }),
    userId: t.int({ resolve: ({ user }) => user.userNumber }),
    user: t.expose('user', { type: UserType }),
    expiresAt: t.expose('expiresAt', { type: 'DateTime' }),
  }),
});
const ClosePayload = builder.objectRef<{ closed: boolean }>('ClosePayload').implement({
  fields: (t) => ({ closed: t.exposeBoolean('closed') }),
});

const OpenResult = resultUnion('OpenResult', SessionDataType, [
  'SignInRefusedError',
  'InvalidInputError',
  'RateLimitedError',
  'UnavailableError',
]);
const CloseResult = resultUnion('CloseResult', ClosePayload, [
  'NotFoundError',
  'SignInRefusedError',
  'RateLimitedError',
  'UnavailableError',
]);

const oneTimeCode = 'of the authenticator, for a user who has one';

builder.mutationFields((t) => {
  const application = { applicationId: t.arg.int({ required: true }), clientVersion: t.arg.string() };
  const password = {
    userName: t.arg.string({ required: true }),
    password: t.arg.string({ required: true }),
    oneTimeCode: t.arg.string({ description: oneTimeCode }),
  };
  return {
    open: t.field({
      type: OpenResult,
      description: 'A session that the next sign-in of the same user and application replaces.',
      authScopes: { anybody: true },
      args: { ...password, ...application },
      resolve: (_, input, { signIn }) => asSignInResult(() => openWithPassword(signIn, 'open', input)),
    }),
    openWithTicket: t.field({
      type: OpenResult,
      description: 'As open, for the user that a ticket names.',
      authScopes: { anybody: true },
      args: { ticket: t.arg.string({ required: true }), ...application },
      resolve: (_, input, { signIn }) => asSignInResult(() => openWithTicket(signIn, input)),
    }),
    openWithTicketEx: t.field({
      type: OpenResult,
      description: 'As open, for the user of that e-mail address, who is made when there is none.',
      authScopes: { anybody: true },
      args: {
        ticket: t.arg.string({ required: true, description: 'proves its key and its time; whom it names is ignored' }),
        emailAddress: t.arg.string({ required: true }),
        firstName: t.arg.string({ description: 'of a user who is made' }),
        lastName: t.arg.string({ description: 'of a user who is made' }),
        ...application,
      },
      resolve: (_, input, { signIn }) => asSignInResult(() => openWithTicketEx(signIn, input)),
    }),
    openImmutable: t.field({
      type: OpenResult,
      description:
        'A session beside all others, for 48 hours. With applications 30 and 31 the one that is in use is given again.',
      authScopes: { anybody: true },
      args: { ...password, ...application },
      resolve: (_, input, { signIn }) => asSignInResult(() => openWithPassword(signIn, 'openImmutable', input)),
    }),
    openImmutableImpersonate: t.field({
      type: OpenResult,
      description: 'As openImmutable, for a user as whom the service session may act. It ends with that session.',
      authScopes: { anybody: true },
      args: {
        serviceSessionId: t.arg.string({ required: true }),
        userId: t.arg.int({ required: true }),
        ...application,
        ipAddress: t.arg.string({ description: "of the user's machine or firewall" }),
        reason: t.arg.string({ description: 'kept in the audit log; some tenants ask for one' }),
      },
      resolve: (_, input, { signIn }) => asSignInResult(() => openAsUser(signIn, 'openImmutableImpersonate', input)),
    }),
    openImmutableUserString: t.field({
      type: OpenResult,
      description:
        'As openImmutable, with an external user who stands in the audit log of each upload, download and delete: by userName and password, or by serviceSessionId and userId.',
      authScopes: { anybody: true },
      args: {
        userName: t.arg.string(),
        password: t.arg.string(),
        oneTimeCode: t.arg.string({ description: oneTimeCode }),
        serviceSessionId: t.arg.string(),
        userId: t.arg.int(),
        ...application,
        ipAddress: t.arg.string({ description: "of the user's machine or firewall; with a service session" }),
        userString: t.arg.string({ description: 'the external user; at most 255 characters' }),
        reason: t.arg.string(),
      },
      resolve: (_, input, { signIn }) => asSignInResult(async () => openWithUserString(signIn, input)),
    }),
    close: t.field({
      type: CloseResult,
      description: 'Ends a session, and stops the runs that it has started.',
      authScopes: { anybody: true },
      args: { sessionId: t.arg.string({ required: true }) },
      resolve: (_, { sessionId }, { signIn }) => asSignInResult(() => closePresented(signIn, sessionId)),
    }),
  };
});

type Given = PasswordProof & ServiceProof;
type UserStringInput = SignInFacts & { [Field in keyof Given]?: Given[Field] | null | undefined };

/** The document gives this one two forms: its signature has a service session, its table a user name and a password. */
function openWithUserString(signIn: SignInOperation, input: UserStringInput): Promise<SessionData> {
  const { userName, password, oneTimeCode, serviceSessionId, userId, reason, ...facts } = input;
  const method = 'openImmutableUserString';
  const isByPassword = serviceSessionId == null && userId == null;
  if (isByPassword && userName != null && password != null) {
    // Who signs in as themselves could write any address into the audit log.
    if (facts.ipAddress != null)
      throw new WaybillError('invalid', 'only a service session tells the ipAddress of somebody else', {
        field: 'ipAddress',
      });
    return openWithPassword(signIn, method, { userName, password, oneTimeCode, ...facts });
  }
  if (userName == null && password == null && serviceSessionId != null && userId != null)
    return openAsUser(signIn, method, { serviceSessionId, userId, reason, ...facts });
  throw new WaybillError('invalid', 'give either userName and password, or serviceSessionId and userId', {
    field: 'userName',
  });
}

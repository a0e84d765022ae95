import { Type } from 'typebox';
import type { ActionManifest } from '../actions.ts';
import { ownErrors, patient, short } from './terms.ts';

/** Actions on sessions of Waybill itself. A pipeline sees their public ids, never their secrets. */
export const sessionActions: readonly ActionManifest[] = [
  {
    use: 'session.open@1',
    summary: 'Opens a concurrent session that belongs to the run; what is still open at its end is closed.',
    input: Type.Object(
      {
        application: Type.Optional(
          Type.Integer({
            minimum: 1,
            description: 'Registered application. Default: that of the run.',
            'x-application': true,
          }),
        ),
        as: Type.Optional(
          Type.String({
            pattern: '^[A-Za-z0-9][A-Za-z0-9._@-]{0,126}$',
            description:
              'Account of the session; the account of the run must be allowed to act as it. Default: the account of the run.',
          }),
        ),
      },
      { additionalProperties: false },
    ),
    output: Type.Object({ session: Type.String({ description: 'public id, `ses_...`' }) }),
    idempotent: true,
    heartbeats: false,
    transfers: false,
    errorKinds: [...ownErrors, 'forbidden', 'not-found'],
    retry: patient,
    timeout: short,
  },
  {
    use: 'session.close@1',
    summary: 'Closes a session that the run opened; closing it again is success.',
    input: Type.Object(
      { session: Type.String({ minLength: 1, maxLength: 100, description: 'What session.open gave: `ses_...`.' }) },
      { additionalProperties: false },
    ),
    output: Type.Object({
      session: Type.String(),
      closed: Type.Boolean({ description: 'false when it was closed already' }),
    }),
    idempotent: true,
    heartbeats: false,
    transfers: false,
    errorKinds: [...ownErrors, 'forbidden', 'not-found'],
    retry: patient,
    timeout: short,
  },
];

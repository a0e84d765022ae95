import './errors.ts';
import './node.ts';
import './viewer.ts';
import './session.ts';
import './run.ts';
import './pipeline.ts';
import './transfer.ts';
import './delivery.ts';
import './endpoint.ts';
import './webhook.ts';
import './auditEvent.ts';
import './credentials.ts';
import './serviceAccount.ts';
import './user.ts';
import './application.ts';
import './integration.ts';
import './runMutation.ts';
import './configurationMutation.ts';
import './endpointMutation.ts';
import './credentialsMutation.ts';
import './signIn.ts';
import { builder } from './builder.ts';

/** The one schema of the API; each import above adds its subject. */
export const apiSchema = builder.toSchema();

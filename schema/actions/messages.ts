import { Type } from 'typebox';
import type { ActionManifest } from '../actions.ts';
import { customEventPattern } from '../events.ts';
import { brief, EndpointAlias, ownErrors, patient, reachErrors, short } from './terms.ts';

export const maxRecipients = 50;
/** Characters of a message: Slack takes no more than 40,000, and nobody reads them. */
export const maxMessageCharacters = 16_000;

const eventName = Type.String({
  pattern: customEventPattern,
  maxLength: 100,
  description: 'An event name of your own, such as orders.received.',
});
const eventData = Type.Record(Type.String(), Type.Any(), {
  description: 'Data of the event, up to 16 KiB as JSON.',
  'x-template': true,
});
const recipient = Type.String({ minLength: 3, maxLength: 320, description: 'A mail address.' });

/** Actions that tell somebody something. */
export const messageActions: readonly ActionManifest[] = [
  {
    use: 'webhook.send@1',
    summary: 'Sends an event to every webhook of the tenant whose filter matches.',
    input: Type.Object({ event: eventName, data: Type.Optional(eventData) }, { additionalProperties: false }),
    output: Type.Object({ messageId: Type.String(), webhooks: Type.Integer() }),
    idempotent: true,
    heartbeats: false,
    transfers: false,
    errorKinds: ownErrors,
    retry: patient,
    timeout: short,
  },
  {
    use: 'audit.write@1',
    summary: 'Writes an event of your own into the audit log.',
    input: Type.Object({ event: eventName, data: Type.Optional(eventData) }, { additionalProperties: false }),
    output: Type.Object({ event: Type.String() }),
    idempotent: true,
    heartbeats: false,
    transfers: false,
    errorKinds: ownErrors,
    retry: patient,
    timeout: short,
  },
  {
    use: 'notify.send@1',
    summary:
      'Tells people: an e-mail, or a message in a Slack or Teams channel. An attempt whose answer was lost may tell them twice.',
    input: Type.Object(
      {
        via: EndpointAlias('Alias of an endpoint of connector smtp, slack or teams.'),
        to: Type.Optional(
          Type.Union([recipient, Type.Array(recipient, { minItems: 1, maxItems: maxRecipients })], {
            description:
              'Mail addresses. Default: those of the endpoint. Slack and Teams webhooks have a fixed channel and take none.',
          }),
        ),
        subject: Type.Optional(
          Type.String({ minLength: 1, maxLength: 200, description: 'Subject of the e-mail, or a bold first line.' }),
        ),
        text: Type.String({
          minLength: 1,
          maxLength: maxMessageCharacters,
          description: 'What is said, at most 16,000 characters.',
        }),
        format: Type.Optional(
          Type.Union([Type.Literal('text'), Type.Literal('markdown'), Type.Literal('html')], {
            default: 'text',
            description: 'How `text` is read. markdown: Slack and Teams; html: e-mail.',
          }),
        ),
      },
      { additionalProperties: false },
    ),
    output: Type.Object({
      messageId: Type.String({
        description: 'the same in every attempt of the step; an e-mail bears it as Message-ID',
      }),
      accepted: Type.Integer({ description: 'recipients that the server took; 1 for a channel' }),
      rejected: Type.Array(Type.String(), { description: 'addresses that the server refused while it took others' }),
    }),
    idempotent: false,
    heartbeats: false,
    transfers: false,
    errorKinds: reachErrors,
    retry: brief,
    timeout: short,
  },
];

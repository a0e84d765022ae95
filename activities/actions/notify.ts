import type { OutgoingMessage, SendReceipt } from '../../connectors/contract.ts';
import { maxMessageCharacters, maxRecipients } from '../../schema/actions/messages.ts';
import { WaybillError } from '../../schema/errors.ts';
import type { Json } from '../../schema/plan.ts';
import { stepDigest } from '../messages.ts';
import type { ActivityContext, TransferDependencies } from '../transfer/context.ts';
import { type FilesInput, recordOfStep } from '../transfer/files.ts';
import { choose } from '../transfer/options.ts';
import { endpointOf } from './endpointAlias.ts';

/**
 * `notify.send`: hands a message to a mail server or a channel. Every attempt bears the same id; one whose answer was lost
 * may be sent again. Throws invalid, unsupported, whatever the endpoint throws.
 */
export async function sendNotification(
  dependencies: Pick<TransferDependencies, 'endpoints' | 'store'>,
  input: FilesInput,
  { signal }: ActivityContext,
): Promise<SendReceipt & { messageId: string }> {
  const endpoint = endpointOf(input, 'via');
  const messageId = stepDigest(input);
  const message = readMessage(messageId, input.with);
  const receipt = await dependencies.endpoints.useService(input.tenantId, endpoint, 'messages', (notifier) =>
    notifier.send(message, signal),
  );
  await recordOfStep(dependencies, input, (events) => [
    events.step('notify.sent', input.stepKey, { endpoint, messageId, ...receipt }),
  ]);
  return { messageId, ...receipt };
}

function readMessage(id: string, given: Record<string, Json>): OutgoingMessage {
  const { text, subject = null, to = [] } = given;
  if (typeof text !== 'string' || text.trim() === '')
    throw new WaybillError('invalid', '`text` must say something', { field: 'text' });
  if (text.length > maxMessageCharacters)
    throw new WaybillError('invalid', `\`text\` has ${text.length} characters, more than ${maxMessageCharacters}`, {
      field: 'text',
    });
  if (subject !== null && typeof subject !== 'string')
    throw new WaybillError('invalid', '`subject` must be a text', { field: 'subject' });
  const recipients = typeof to === 'string' ? [to] : to;
  if (
    !Array.isArray(recipients) ||
    !recipients.every((one) => typeof one === 'string') ||
    recipients.length > maxRecipients
  )
    throw new WaybillError('invalid', `\`to\` must be one mail address, or a list of ${maxRecipients} at most`, {
      field: 'to',
    });
  const format = choose(given, 'format', ['text', 'markdown', 'html']);
  return { id, to: recipients as string[], subject, text, format };
}

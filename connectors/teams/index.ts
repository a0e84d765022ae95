import { channelConfig, channelSecrets, lintChannel, openChannel, requireFormat } from '../channelWebhook.ts';
import { defineConnector, type OutgoingMessage } from '../contract.ts';

/** An incoming webhook of Microsoft Teams: a workflow that posts an adaptive card. */
export default defineConnector({
  kind: 'teams',
  serves: 'messages',
  summary: 'A channel of Microsoft Teams: an incoming webhook of Workflows.',
  config: channelConfig,
  secrets: channelSecrets,
  lint: (_config, secretNames) => lintChannel(secretNames),
  open: (config, secrets, context) =>
    openChannel({
      name: 'Teams',
      allowPlain: config.allowPlain ?? false,
      secrets,
      context,
      payload,
      // Only a POST posts. What a HEAD is answered shows that the server is there; the address is proven by the first message.
      probe: { method: 'HEAD', body: null, isThere: (status) => status < 500 && status !== 429 },
    }),
});

function payload(message: OutgoingMessage): unknown {
  requireFormat('Teams', message, 'text', 'markdown');
  const { subject, text, format } = message;
  const shown = format === 'text' ? escapeMarkdown(text) : text;
  const title = {
    type: 'TextBlock',
    text: escapeMarkdown(subject ?? ''),
    weight: 'Bolder',
    size: 'Medium',
    wrap: true,
  };
  const content = {
    $schema: 'http://adaptivecards.io/schemas/adaptive-card.json',
    type: 'AdaptiveCard',
    version: '1.4',
    body: [...(subject === null ? [] : [title]), { type: 'TextBlock', text: shown, wrap: true }],
  };
  return {
    type: 'message',
    attachments: [{ contentType: 'application/vnd.microsoft.card.adaptive', contentUrl: null, content }],
  };
}

/** A card reads every text as Markdown, and shows a single line break as a space. */
function escapeMarkdown(text: string): string {
  return text.replace(/[\\`*_[\]<>#~]/g, '\\$&').replace(/\r?\n/g, '\n\n');
}

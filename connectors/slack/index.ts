import { channelConfig, channelSecrets, lintChannel, openChannel, requireFormat } from '../channelWebhook.ts';
import { defineConnector, type OutgoingMessage } from '../contract.ts';

/** An incoming webhook of Slack, or of what speaks like it (Mattermost, Rocket.Chat, Discord with /slack). */
export default defineConnector({
  kind: 'slack',
  serves: 'messages',
  summary: 'A channel that takes messages like Slack: an incoming webhook.',
  config: channelConfig,
  secrets: channelSecrets,
  lint: (_config, secretNames) => lintChannel(secretNames),
  open: (config, secrets, context) =>
    openChannel({
      name: 'Slack',
      allowPlain: config.allowPlain ?? false,
      secrets,
      context,
      payload,
      // A message without text is refused with 400 by a webhook that exists, with 403 or 404 by one that does not.
      probe: { method: 'POST', body: '{}', isThere: (status) => status === 400 || (status >= 200 && status < 300) },
    }),
});

function payload(message: OutgoingMessage): unknown {
  requireFormat('Slack', message, 'text', 'markdown');
  const { subject, text, format } = message;
  if (format === 'text') return { text: escapeText(subject === null ? text : `${subject}\n${text}`), mrkdwn: false };
  return { text: subject === null ? text : `*${escapeText(subject)}*\n${text}`, mrkdwn: true };
}

/** Slack's own signs: without this, a file that is called `<!channel>` calls everybody. */
function escapeText(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

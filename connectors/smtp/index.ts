import { Type } from 'typebox';
import { defineConnector } from '../contract.ts';
import { openSmtp } from './notifier.ts';

const ports = { starttls: 587, implicit: 465, none: 25 } as const;
const address = '^[^\\s@<>,;"]{1,64}@[A-Za-z0-9.-]{1,253}$';

/** A mail server that sends what `notify.send` says. */
export default defineConnector({
  kind: 'smtp',
  serves: 'messages',
  summary: 'A mail server (SMTP) that sends messages of notify.send; it holds no files.',
  config: Type.Object(
    {
      host: Type.String({
        minLength: 1,
        maxLength: 253,
        description: 'Name or address of the server.',
        examples: ['smtp.acme.example'],
      }),
      port: Type.Optional(
        Type.Integer({
          minimum: 1,
          maximum: 65535,
          description: 'Default: 587 with tls: starttls, 465 with tls: implicit, 25 with tls: none.',
        }),
      ),
      tls: Type.Optional(
        Type.Union([Type.Literal('starttls'), Type.Literal('implicit'), Type.Literal('none')], {
          default: 'starttls',
          description: 'How the line is encrypted. starttls: it has to be, before anything is said; none: it is not.',
        }),
      ),
      username: Type.Optional(
        Type.String({ minLength: 1, maxLength: 255, description: 'Signs in with the secret password.' }),
      ),
      from: Type.String({
        pattern: address,
        description: 'Address that the messages come from.',
        examples: ['waybill@acme.example'],
      }),
      fromName: Type.Optional(
        Type.String({
          minLength: 1,
          maxLength: 100,
          pattern: '^[^\\r\\n]*$',
          description: 'Name beside that address.',
        }),
      ),
      to: Type.Optional(
        Type.Array(Type.String({ pattern: address }), {
          minItems: 1,
          maxItems: 50,
          description: 'Who is told when a step names nobody.',
        }),
      ),
      allowPlain: Type.Optional(
        Type.Boolean({
          default: false,
          description: 'Sends the password without TLS. Only for a network that nobody else can read.',
        }),
      ),
    },
    { additionalProperties: false },
  ),
  secrets: {
    password: { description: 'Password of username.' },
    ca: { description: 'Certificates of the authorities to trust, in PEM format, instead of the public ones.' },
  },
  lint(config, secretNames) {
    const mistakes: Array<{ field: string; message: string }> = [];
    const hasPassword = secretNames.includes('password');
    if (config.username !== undefined && !hasPassword)
      mistakes.push({ field: 'secrets', message: `has no password for the user ${config.username}` });
    if (config.username === undefined && hasPassword)
      mistakes.push({ field: 'username', message: 'is missing: the password belongs to nobody' });
    if (config.tls === 'none' && hasPassword && config.allowPlain !== true)
      mistakes.push({
        field: 'tls',
        message: 'would show the password to everybody on the way: use starttls or implicit, or say allowPlain: true',
      });
    return mistakes;
  },
  open: (config, secrets, context) => {
    const tls = config.tls ?? 'starttls';
    return openSmtp(
      {
        host: config.host,
        port: config.port ?? ports[tls],
        tls,
        username: config.username ?? null,
        from: config.from,
        fromName: config.fromName ?? null,
        to: config.to ?? [],
      },
      secrets,
      context,
    );
  },
});

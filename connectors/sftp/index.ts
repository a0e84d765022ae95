import { Type } from 'typebox';
import { defineConnector } from '../contract.ts';
import { openSftp } from './connector.ts';
import { scanHostKey } from './hostKeys.ts';

const defaultPort = 22;
const defaultConnections = 2;
const maxConnections = 16;

/** A folder on an SFTP server (SSH file transfer protocol, version 3, with OpenSSH's extensions where offered). */
export default defineConnector({
  kind: 'sftp',
  serves: 'files',
  summary: 'A folder on an SFTP server.',
  config: Type.Object(
    {
      host: Type.String({
        minLength: 1,
        maxLength: 253,
        description: 'Name or address of the server.',
        examples: ['sftp.acme.example'],
      }),
      port: Type.Optional(
        Type.Integer({ minimum: 1, maximum: 65535, default: defaultPort, description: 'Port of the server.' }),
      ),
      username: Type.String({ minLength: 1, maxLength: 255, description: 'Account on the server.' }),
      root: Type.Optional(
        Type.String({
          pattern: '^/',
          maxLength: 4096,
          default: '/',
          description: 'Absolute path on the server; nothing above it is used.',
        }),
      ),
      hostKeys: Type.Optional(
        Type.Array(Type.String({ pattern: '^SHA256:[A-Za-z0-9+/]{43}=?$' }), {
          minItems: 1,
          maxItems: 10,
          description:
            'Fingerprints of the host keys to trust, as `ssh-keygen -l` prints them. The server must show one of them.',
          examples: [['SHA256:uNiVztksCsDhcc0u9e8BrwxRRkm+zbGqtBlJ5Tbm6a8']],
        }),
      ),
      connections: Type.Optional(
        Type.Integer({
          minimum: 1,
          maximum: maxConnections,
          default: defaultConnections,
          description: 'The most connections of one worker at a time.',
        }),
      ),
      caseSensitive: Type.Optional(
        Type.Boolean({
          default: true,
          description:
            'Whether `A.csv` and `a.csv` are two files on the server. Say false for servers on Windows and macOS.',
        }),
      ),
      writesInOrder: Type.Optional(
        Type.Boolean({
          default: false,
          description:
            'For a server that takes the bytes of a file only in order (rclone without a cache): slower, and a broken-off file starts again.',
        }),
      ),
    },
    { additionalProperties: false },
  ),
  secrets: {
    privateKey: { description: 'Private key text, in OpenSSH, PEM or PuTTY format.' },
    passphrase: { description: 'Passphrase of the private key.' },
    password: { description: 'Password, also for keyboard-interactive sign-in.' },
  },
  hostKeys: {
    shown: ({ host, port = defaultPort }, { dialler }) => scanHostKey(dialler, host, port),
    trusted: ({ hostKeys = [] }) => hostKeys,
    trust: (config, fingerprints) => ({ ...config, hostKeys: [...fingerprints] }),
  },
  lint(config, secretNames) {
    const mistakes: Array<{ field: string; message: string }> = [];
    if (config.hostKeys === undefined) {
      const url = `sftp://${config.username}@${config.host}`;
      mistakes.push({
        field: 'hostKeys',
        message: `is missing: without it anybody could pose as the server; \`waybill endpoints add ${url} --name NAME\` shows the fingerprint and writes it`,
      });
    }
    if (!secretNames.includes('privateKey') && !secretNames.includes('password')) {
      mistakes.push({ field: 'secrets', message: 'has no way to sign in: give privateKey or password' });
    }
    if (secretNames.includes('passphrase') && !secretNames.includes('privateKey')) {
      mistakes.push({ field: 'secrets', message: 'has a passphrase but no privateKey that it belongs to' });
    }
    return mistakes;
  },
  open: (config, secrets, context) =>
    openSftp(
      {
        host: config.host,
        port: config.port ?? defaultPort,
        username: config.username,
        root: config.root ?? '/',
        hostKeys: config.hostKeys ?? [],
        connections: config.connections ?? defaultConnections,
        caseSensitive: config.caseSensitive ?? true,
        writesInOrder: config.writesInOrder ?? false,
      },
      secrets,
      context,
    ),
});

import { Type } from 'typebox';
import { defineConnector } from '../contract.ts';
import { headerNamePattern, openHttp } from './requester.ts';

const defaultTimeoutSeconds = 60;

/** Somebody else's HTTP interface: `http.request` asks it, with credentials that the pipeline never sees. */
export default defineConnector({
  kind: 'http',
  serves: 'requests',
  summary: 'An HTTP interface that steps ask through http.request; it holds no files.',
  config: Type.Object(
    {
      baseUrl: Type.String({
        pattern: '^https?://',
        maxLength: 2048,
        description: 'What every request begins with. Nothing above its path, and no other server, is asked.',
        examples: ['https://api.acme.example/v2'],
      }),
      auth: Type.Optional(
        Type.Union([Type.Literal('none'), Type.Literal('bearer'), Type.Literal('basic'), Type.Literal('header')], {
          default: 'none',
          description:
            'How it signs in: bearer (secret token), basic (username, secret password), or header (authHeader, secret token).',
        }),
      ),
      username: Type.Optional(
        Type.String({ minLength: 1, maxLength: 255, pattern: '^[^:]*$', description: 'User name of auth: basic.' }),
      ),
      authHeader: Type.Optional(
        Type.String({ pattern: headerNamePattern, description: 'Header that carries the token of auth: header.' }),
      ),
      headers: Type.Optional(
        Type.Record(Type.String({ pattern: headerNamePattern }), Type.String({ maxLength: 4096 }), {
          additionalProperties: false,
          description: 'Headers of every request. Never a secret: those belong under `secrets:`.',
        }),
      ),
      checkPath: Type.Optional(
        Type.String({
          pattern: '^/',
          maxLength: 2048,
          default: '/',
          description: 'Path that a check asks by GET; one that needs the credentials proves them.',
        }),
      ),
      timeoutSeconds: Type.Optional(
        Type.Integer({
          minimum: 1,
          maximum: 300,
          default: defaultTimeoutSeconds,
          description: 'How long one request may take.',
        }),
      ),
      allowPlain: Type.Optional(
        Type.Boolean({
          default: false,
          description: 'Sends credentials without TLS. Only for a network that nobody else can read.',
        }),
      ),
    },
    { additionalProperties: false },
  ),
  secrets: {
    token: { description: 'Token of auth: bearer and auth: header.' },
    password: { description: 'Password of auth: basic.' },
    ca: { description: 'Certificates of the authorities to trust, in PEM format, instead of the public ones.' },
    clientCertificate: { description: 'Certificate to show to the server, in PEM format.' },
    clientKey: { description: 'Private key of the client certificate, in PEM format.' },
  },
  lint(config, secretNames) {
    const mistakes: Array<{ field: string; message: string }> = [];
    const refuse = (field: string, message: string) => mistakes.push({ field, message });
    const { auth = 'none' } = config;
    const url = URL.parse(config.baseUrl);
    if (url === null) refuse('baseUrl', 'is not an address such as https://api.acme.example/v2');
    else if (url.username !== '' || url.password !== '')
      refuse('baseUrl', 'holds credentials; they belong under `auth` and `secrets:`');
    else if (url.search !== '' || url.hash !== '') refuse('baseUrl', 'ends at its path: no ? and no #');
    else if (url.protocol === 'http:' && auth !== 'none' && config.allowPlain !== true)
      refuse('baseUrl', 'would show the credentials to everybody on the way: use https, or say allowPlain: true');
    const wanted = { none: null, bearer: 'token', basic: 'password', header: 'token' }[auth];
    if (wanted !== null && !secretNames.includes(wanted))
      refuse('secrets', `has no ${wanted}, which auth: ${auth} needs`);
    for (const name of ['token', 'password'])
      if (name !== wanted && secretNames.includes(name))
        refuse('secrets', `has a ${name}, which auth: ${auth} does not use`);
    if ((auth === 'basic') !== (config.username !== undefined))
      refuse('username', 'belongs to auth: basic, which needs it');
    if ((auth === 'header') !== (config.authHeader !== undefined))
      refuse('authHeader', 'belongs to auth: header, which needs it');
    if (secretNames.includes('clientCertificate') !== secretNames.includes('clientKey'))
      refuse('secrets', 'needs both clientCertificate and clientKey, or neither');
    return mistakes;
  },
  open: (config, secrets, context) =>
    openHttp(
      {
        baseUrl: config.baseUrl,
        auth: config.auth ?? 'none',
        username: config.username ?? '',
        authHeader: config.authHeader ?? '',
        headers: config.headers ?? {},
        checkPath: config.checkPath ?? '/',
        timeoutMs: (config.timeoutSeconds ?? defaultTimeoutSeconds) * 1000,
      },
      secrets,
      context,
    ),
});

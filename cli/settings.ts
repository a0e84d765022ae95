import { type Static, type TProperties, Type } from 'typebox';
import { Value } from 'typebox/value';
import type { HostAllowances } from '../identity/hostSecrets.ts';
import { WaybillError } from '../schema/errors.ts';
import { parseDurationMs } from '../schema/quantities.ts';

/** An entry is for one tenant when its name stands before it. */
const forTenant = '([A-Za-z0-9._-]{1,253}=)?';

/** The environment: this file reads it, nothing else does. Every setting is declared here with its check and its words. */
const serviceSchema = Type.Object({
  DATABASE_URL: Type.String({
    pattern: '^postgres(ql)?://.+@.+/.+',
    description: 'postgresql:// URL of the application role: neither owner nor superuser.',
  }),
  DATABASE_SYSTEM_URL: Type.Optional(
    Type.String({
      pattern: '^postgres(ql)?://.+@.+/.+',
      description: 'postgresql:// URL of the system role: webhooks and sweeps. One worker at least needs it.',
    }),
  ),
  WAYBILL_MASTER_KEY: Type.String({
    pattern: '^[A-Za-z0-9+/]{43}=$',
    description: '32 random bytes in base64 (openssl rand -base64 32): the key of the stored secrets.',
  }),
  WAYBILL_MASTER_KEY_OLD: Type.Array(Type.String({ pattern: '^[A-Za-z0-9+/]{43}=$' }), {
    default: [],
    description: 'Master keys before it, separated by commas, until `waybill secrets rewrap` has run.',
  }),
  TEMPORAL_ADDRESS: Type.String({ minLength: 3, default: '127.0.0.1:7233', description: 'host:port of Temporal.' }),
  TEMPORAL_NAMESPACE: Type.String({ minLength: 1, default: 'default', description: 'Namespace in Temporal.' }),
  TEMPORAL_UI_URL: Type.Optional(Type.String({ pattern: '^https?://', description: "Temporal's UI, for deep links." })),
  WAYBILL_CODEC_TOKEN: Type.Optional(
    Type.String({
      pattern: '^[A-Za-z0-9_-]{32,200}$',
      description:
        "32 or more random letters and digits (openssl rand -hex 32): Temporal's UI, with this in its codec endpoint, shows payloads to whoever can open it.",
    }),
  ),
  WAYBILL_HOST: Type.String({ minLength: 1, default: '127.0.0.1', description: 'Address that the API listens on.' }),
  WAYBILL_PORT: Type.Integer({
    minimum: 0,
    maximum: 65535,
    default: 4000,
    description: 'Port of the API; 0 takes a free one.',
  }),
  WAYBILL_LOCAL_ROOTS: Type.Array(Type.String({ pattern: `^${forTenant}(/|\\*$)` }), {
    default: [],
    description:
      'Absolute folders, separated by commas, that local endpoints may use, each for all tenants or as tenant=/folder; * allows all.',
  }),
  WAYBILL_WORKER_FILES: Type.Array(Type.String({ pattern: `^${forTenant}/` }), {
    default: [],
    description: 'Files such as tenant=/etc/keys/*, separated by commas, that endpoints may name by { workerFile }.',
  }),
  WAYBILL_WORKER_ENV: Type.Array(Type.String({ pattern: `^${forTenant}[A-Za-z_][A-Za-z0-9_]*\\*?$` }), {
    default: [],
    description: 'Variables such as tenant=ACME_*, separated by commas, that endpoints may name by { workerEnv }.',
  }),
  WAYBILL_AWS_CREDENTIALS: Type.Union([Type.Literal('none'), Type.Literal('ambient')], {
    default: 'none',
    description: "ambient lends this machine's AWS credentials to s3 endpoints that have no accessKeyId.",
  }),
  WAYBILL_EGRESS_LOOPBACK: Type.Boolean({
    default: false,
    description: 'true lets endpoints and webhooks reach this machine. For development.',
  }),
  WAYBILL_EGRESS_ALLOW: Type.Array(Type.String({ pattern: '^[0-9A-Fa-f.:]+/[0-9]+$' }), {
    default: [],
    description: 'CIDRs of private ranges, separated by commas, that endpoints and webhooks may reach.',
  }),
  WAYBILL_PLUGINS: Type.Optional(
    Type.String({
      minLength: 1,
      description: 'File that lists connectors you have installed, each with the hash that pins it.',
    }),
  ),
  WAYBILL_WEBHOOK_RETRIES: Type.Array(Type.String({ pattern: '^[0-9]+(ms|s|m|h|d)$' }), {
    minItems: 1,
    maxItems: 20,
    default: ['5s', '1m', '5m', '30m', '2h'],
    description: 'Waits, separated by commas, between the attempts of a webhook.',
  }),
  WAYBILL_SWEEP_EVERY: Type.String({
    pattern: '^([1-9][0-9]{0,3}(m|h|d)|never)$',
    default: '24h',
    description: 'How often what killed workers left at endpoints is removed, or never.',
  }),
  WAYBILL_LOG_LEVEL: Type.Union(
    [Type.Literal('debug'), Type.Literal('info'), Type.Literal('warn'), Type.Literal('error')],
    { default: 'info', description: 'debug, info, warn or error.' },
  ),
});

const migrateSchema = Type.Object({
  DATABASE_OWNER_URL: Type.String({
    pattern: '^postgres(ql)?://.+@.+/.+',
    description: 'postgresql:// URL of the owner, who may create tables and roles.',
  }),
  DATABASE_URL: serviceSchema.properties.DATABASE_URL,
  DATABASE_SYSTEM_URL: serviceSchema.properties.DATABASE_SYSTEM_URL,
});

const keySchema = Type.Object({
  DATABASE_URL: serviceSchema.properties.DATABASE_URL,
  DATABASE_SYSTEM_URL: Type.String({
    pattern: '^postgres(ql)?://.+@.+/.+',
    description: 'postgresql:// URL of the system role, which knows all tenants.',
  }),
  WAYBILL_MASTER_KEY: serviceSchema.properties.WAYBILL_MASTER_KEY,
  WAYBILL_MASTER_KEY_OLD: serviceSchema.properties.WAYBILL_MASTER_KEY_OLD,
});

const operatorSchema = Type.Object({
  DATABASE_OWNER_URL: migrateSchema.properties.DATABASE_OWNER_URL,
  DATABASE_URL: serviceSchema.properties.DATABASE_URL,
  DATABASE_SYSTEM_URL: serviceSchema.properties.DATABASE_SYSTEM_URL,
  TEMPORAL_ADDRESS: serviceSchema.properties.TEMPORAL_ADDRESS,
  TEMPORAL_NAMESPACE: serviceSchema.properties.TEMPORAL_NAMESPACE,
});

export type Environment = Readonly<Record<string, string | undefined>>;

export interface ServiceSettings {
  applicationUrl: string;
  systemUrl: string | null;
  masterKey: Buffer;
  /** What the keys of tenants may still be wrapped by. */
  oldMasterKeys: readonly Buffer[];
  temporalAddress: string;
  temporalNamespace: string;
  temporalUiUrl: string | null;
  codecToken: string | null;
  host: string;
  port: number;
  localRoots: readonly string[];
  hostAllowances: HostAllowances;
  awsCredentials: 'none' | 'ambient';
  egress: { loopback: boolean; allow: readonly string[] };
  pluginsFile: string | null;
  webhookRetryDelaysMs: readonly number[];
  /** null: never. */
  sweepEveryMs: number | null;
  logLevel: 'debug' | 'info' | 'warn' | 'error';
}

/** Settings of `waybill api` and `waybill worker`. Throws invalid with every mistake in one message. */
export function readServiceSettings(environment: Environment): ServiceSettings {
  const values = readEnvironment(serviceSchema, environment);
  return {
    applicationUrl: values.DATABASE_URL,
    systemUrl: values.DATABASE_SYSTEM_URL ?? null,
    masterKey: Buffer.from(values.WAYBILL_MASTER_KEY, 'base64'),
    oldMasterKeys: values.WAYBILL_MASTER_KEY_OLD.map((text) => Buffer.from(text, 'base64')),
    temporalAddress: values.TEMPORAL_ADDRESS,
    temporalNamespace: values.TEMPORAL_NAMESPACE,
    temporalUiUrl: values.TEMPORAL_UI_URL ?? null,
    codecToken: values.WAYBILL_CODEC_TOKEN ?? null,
    host: values.WAYBILL_HOST,
    port: values.WAYBILL_PORT,
    localRoots: values.WAYBILL_LOCAL_ROOTS,
    hostAllowances: {
      files: values.WAYBILL_WORKER_FILES,
      variables: values.WAYBILL_WORKER_ENV,
      environment: withoutSettings(environment),
    },
    awsCredentials: values.WAYBILL_AWS_CREDENTIALS,
    egress: { loopback: values.WAYBILL_EGRESS_LOOPBACK, allow: values.WAYBILL_EGRESS_ALLOW },
    pluginsFile: values.WAYBILL_PLUGINS ?? null,
    webhookRetryDelaysMs: values.WAYBILL_WEBHOOK_RETRIES.map((text) => parseDurationMs(text)!),
    sweepEveryMs: parseDurationMs(values.WAYBILL_SWEEP_EVERY) ?? null,
    logLevel: values.WAYBILL_LOG_LEVEL,
  };
}

/** Whatever an operator lends by a pattern, the keys of the installation are not among it. */
function withoutSettings(environment: Environment): Environment {
  const isOurs = (name: string) => /^(WAYBILL|DATABASE|TEMPORAL)_/.test(name);
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !isOurs(name)));
}

export interface MigrateSettings {
  ownerUrl: string;
  applicationUrl: string;
  systemUrl: string | null;
  applicationRole: { name: string; password: string };
  systemRole: { name: string; password: string } | undefined;
}

/** Settings of `waybill migrate`: the two roles it creates are those of the two URLs. Throws invalid. */
export function readMigrateSettings(environment: Environment): MigrateSettings {
  const values = readEnvironment(migrateSchema, environment);
  return {
    ownerUrl: values.DATABASE_OWNER_URL,
    applicationUrl: values.DATABASE_URL,
    systemUrl: values.DATABASE_SYSTEM_URL ?? null,
    applicationRole: roleOf('DATABASE_URL', values.DATABASE_URL),
    systemRole:
      values.DATABASE_SYSTEM_URL === undefined ? undefined : roleOf('DATABASE_SYSTEM_URL', values.DATABASE_SYSTEM_URL),
  };
}

export interface OperatorSettings {
  ownerUrl: string;
  applicationUrl: string;
  systemUrl: string | null;
  temporalAddress: string;
  temporalNamespace: string;
}

/** Settings of `waybill secrets rewrap`. Throws invalid. */
export function readKeySettings(
  environment: Environment,
): Pick<ServiceSettings, 'applicationUrl' | 'masterKey' | 'oldMasterKeys'> & { systemUrl: string } {
  const values = readEnvironment(keySchema, environment);
  return {
    applicationUrl: values.DATABASE_URL,
    systemUrl: values.DATABASE_SYSTEM_URL,
    masterKey: Buffer.from(values.WAYBILL_MASTER_KEY, 'base64'),
    oldMasterKeys: values.WAYBILL_MASTER_KEY_OLD.map((text) => Buffer.from(text, 'base64')),
  };
}

/** Settings of the verbs for the operator of the installation, who has its database's credentials. Throws invalid. */
export function readOperatorSettings(environment: Environment): OperatorSettings {
  const values = readEnvironment(operatorSchema, environment);
  return {
    ownerUrl: values.DATABASE_OWNER_URL,
    applicationUrl: values.DATABASE_URL,
    systemUrl: values.DATABASE_SYSTEM_URL ?? null,
    temporalAddress: values.TEMPORAL_ADDRESS,
    temporalNamespace: values.TEMPORAL_NAMESPACE,
  };
}

/** What every command may read. The lines of `waybill --help` about the environment are made from it. */
export interface CommandEnvironment {
  url: string | null;
  apiKey: string | null;
  masterKey: string | null;
  temporalAddress: string | null;
  temporalUiUrl: string | null;
  temporalBinary: string | null;
  cacheFolder: string | null;
  pluginsFile: string | null;
  /** Folders of PATH, in order. */
  searchPath: string;
  /** https://no-color.org: set and not empty. */
  noColor: boolean;
}

export function readCommandEnvironment(environment: Environment): CommandEnvironment {
  const text = (name: string): string | null => environment[name]?.trim() || null;
  return {
    url: text('WAYBILL_URL'),
    apiKey: text('WAYBILL_API_KEY'),
    masterKey: text('WAYBILL_MASTER_KEY'),
    temporalAddress: text('TEMPORAL_ADDRESS'),
    temporalUiUrl: text('TEMPORAL_UI_URL'),
    temporalBinary: text('WAYBILL_TEMPORAL_BINARY'),
    cacheFolder: text('WAYBILL_CACHE'),
    pluginsFile: text('WAYBILL_PLUGINS'),
    searchPath: environment.PATH ?? '',
    noColor: text('NO_COLOR') !== null,
  };
}

/** Name, default and words of each setting of the services, for the help text. */
export function describeSettings(): { name: string; description: string }[] {
  return Object.entries(serviceSchema.properties as TProperties).map(([name, property]) => ({
    name,
    description: (property as { description?: string }).description ?? '',
  }));
}

function readEnvironment<Properties extends TProperties>(
  schema: ReturnType<typeof Type.Object<Properties>>,
  environment: Environment,
): Static<ReturnType<typeof Type.Object<Properties>>> {
  const raw: Record<string, unknown> = {};
  for (const [name, property] of Object.entries(schema.properties)) {
    const text = environment[name]?.trim();
    if (text === undefined || text === '') continue;
    raw[name] = Type.IsArray(property) ? text.split(',').map((item) => item.trim()) : text;
  }
  const values = Value.Convert(schema, Value.Default(schema, raw));
  if (Value.Check(schema, values)) return values as Static<typeof schema>;
  const mistakes = Object.entries(schema.properties)
    .filter(([name, property]) => !isValid(property, (values as Record<string, unknown>)[name]))
    .map(([name, property]) => {
      const state = raw[name] === undefined ? 'is not set' : 'is not valid';
      return `  ${name} ${state}. Wanted: ${(property as { description?: string }).description}`;
    });
  throw new WaybillError('invalid', `the environment is not complete:\n${mistakes.join('\n')}`);
}

function isValid(property: TProperties[string], value: unknown): boolean {
  return value === undefined ? Type.IsOptional(property) : Value.Check(property, value);
}

function roleOf(variable: string, url: string): { name: string; password: string } {
  const { username, password } = new URL(url);
  if (username === '' || password === '') throw new WaybillError('invalid', `${variable} must hold user and password`);
  return { name: decodeURIComponent(username), password: decodeURIComponent(password) };
}

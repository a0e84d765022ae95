import type { TSchema } from 'typebox';
import type { ConnectorDefinition } from '../connectors/contract.ts';
import {
  EndpointDocument,
  type EndpointLimits,
  leastBandwidthBytes,
  type SecretReference,
} from '../schema/configuration.ts';
import type { Json } from '../schema/plan.ts';
import { parseSizeBytes } from '../schema/quantities.ts';
import { didYouMean } from './expressions.ts';
import { checkResourceName } from './names.ts';
import type { Report } from './report.ts';
import { checkSchema, locate } from './schemaCheck.ts';
import { reportInlineSecrets } from './secretReferences.ts';
import type { Located } from './source.ts';

/** What the language needs of a connector: its declaration, not its code. */
export type ConnectorDefinitionLike = Pick<ConnectorDefinition, 'kind' | 'summary' | 'config' | 'secrets' | 'lint'>;

export interface CheckedEndpoint {
  name: string;
  connector: string;
  config: Record<string, Json>;
  limits: EndpointLimits;
  secrets: Record<string, SecretReference>;
}

/** Checks an endpoint document against its connector. Gives null when it has errors. */
export function checkEndpoint(
  root: Located,
  report: Report,
  connectors: readonly ConnectorDefinitionLike[],
): CheckedEndpoint | null {
  const errorsBefore = report.errors;
  const inline = reportInlineSecrets(root.entries?.get('secrets')?.value, report);
  checkSchema(withoutEntries(root, inline), EndpointDocument, report);
  const name = root.entries?.get('endpoint')?.value;
  if (name) checkResourceName(name.value, name.range, report);
  checkBandwidth(root, report);
  const connector = findConnector(root, report, connectors);
  if (connector) checkAgainstConnector(root, connector, report, inline.length > 0);
  if (report.errors > errorsBefore) return null;
  const { config = {}, limits = {}, secrets = {} } = structuredClone(root.value) as unknown as Partial<CheckedEndpoint>;
  return { name: String(name!.value), connector: connector!.kind, config, limits, secrets };
}

function checkBandwidth(root: Located, report: Report): void {
  const bandwidth = root.entries?.get('limits')?.value.entries?.get('bandwidth')?.value;
  const bytes = typeof bandwidth?.value === 'string' ? parseSizeBytes(bandwidth.value) : undefined;
  if (bandwidth === undefined || bytes === undefined || bytes >= leastBandwidthBytes) return;
  report.add(
    'INVALID_ENDPOINT',
    bandwidth.range,
    `limits.bandwidth is at least ${leastBandwidthBytes / 1000}KB a second`,
  );
}

function findConnector(
  root: Located,
  report: Report,
  connectors: readonly ConnectorDefinitionLike[],
): ConnectorDefinitionLike | undefined {
  const kind = root.entries?.get('connector')?.value;
  if (typeof kind?.value !== 'string') return undefined;
  const found = connectors.find((connector) => connector.kind === kind.value);
  if (found) return found;
  const kinds = connectors.map((connector) => connector.kind);
  report.add(
    'UNKNOWN_CONNECTOR',
    kind.range,
    `there is no connector "${kind.value.slice(0, 100)}"`,
    didYouMean(kind.value, kinds) ?? `installed: ${kinds.join(', ')}`,
  );
  return undefined;
}

function checkAgainstConnector(
  root: Located,
  connector: ConnectorDefinitionLike,
  report: Report,
  hasInline: boolean,
): void {
  const secretNames = Object.keys(connector.secrets);
  const secrets = root.entries?.get('secrets')?.value;
  for (const [name, { key }] of secrets?.entries ?? []) {
    if (secretNames.includes(name)) continue;
    const known = secretNames.length > 0 ? `; it knows ${secretNames.join(', ')}` : '';
    report.add(
      'UNKNOWN_SECRET',
      key,
      `the connector ${connector.kind} has no secret "${name.slice(0, 100)}"${known}`,
      didYouMean(name, secretNames),
    );
  }
  const config = root.entries?.get('config')?.value ?? {
    value: {},
    range: root.entries?.get('connector')?.value.range ?? root.range,
    entries: new Map(),
  };
  if (!config.entries) return;
  const sound = checkSchema(config, connector.config as TSchema, report, {
    explainUnknownKey: (key) =>
      secretNames.includes(key) || /pass(word|phrase|wd)|secret|token|private_?key/i.test(key)
        ? {
            code: 'INLINE_SECRET',
            message: `"${key.slice(0, 100)}" is a secret: it belongs under \`secrets:\`, as a reference`,
          }
        : undefined,
  });
  if (!sound || hasInline || !connector.lint) return;
  const given = [...(secrets?.entries?.keys() ?? [])].filter((name) => secretNames.includes(name));
  for (const { field, message } of lint(connector, config, given)) {
    const at = locate(config, `/${field.replaceAll('.', '/')}`);
    const range =
      at.key ??
      (field.startsWith('secrets') ? root.entries?.get('secrets')?.key : undefined) ??
      root.entries?.get('config')?.key ??
      config.range;
    report.add('INVALID_ENDPOINT', range, `${field} ${message}`);
  }
}

function lint(
  connector: ConnectorDefinitionLike,
  config: Located,
  secretNames: readonly string[],
): Array<{ field: string; message: string }> {
  return connector.lint!(structuredClone(config.value) as never, secretNames);
}

/** The document without the secrets that have been reported: the schema would only say the same again. */
function withoutEntries(root: Located, secretNames: readonly string[]): Located {
  const secrets = root.entries?.get('secrets')?.value;
  if (secretNames.length === 0 || !root.entries || !secrets?.entries) return root;
  const kept = new Map([...secrets.entries].filter(([name]) => !secretNames.includes(name)));
  const value = {
    ...(root.value as Record<string, Json>),
    secrets: Object.fromEntries([...kept].map(([name, entry]) => [name, entry.value.value])),
  };
  const entries = new Map(root.entries);
  entries.set('secrets', {
    key: root.entries.get('secrets')!.key,
    value: { ...secrets, entries: kept, value: value.secrets },
  });
  return { ...root, value, entries };
}

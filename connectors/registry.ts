import { Ajv } from 'ajv';
import type { Static, TObject } from 'typebox';
import { WaybillError } from '../schema/errors.ts';
import type { ConnectorContext, ConnectorDefinition, Service, Services } from './contract.ts';
import http from './http/index.ts';
import local from './local/index.ts';
import s3 from './s3/index.ts';
import sftp from './sftp/index.ts';
import slack from './slack/index.ts';
import smtp from './smtp/index.ts';
import teams from './teams/index.ts';

export interface ConnectorRegistry {
  readonly definitions: readonly ConnectorDefinition[];
  find(kind: string): ConnectorDefinition | undefined;
  /** Opens lazily. Throws invalid for an unknown kind and for a config or secret names that the connector does not take. */
  open(kind: string, config: unknown, secrets: Record<string, string>, context: ConnectorContext): OpenedEndpoint;
}

/** A live endpoint, by what it is for. */
export type OpenedEndpoint = { [Kind in Service]: { serves: Kind; endpoint: Services[Kind] } }[Service];

/** Of what ships, or of that and what plugins add. Throws invalid when two have one kind. */
export function createRegistry(definitions: readonly ConnectorDefinition[] = builtInConnectors): ConnectorRegistry {
  const ajv = new Ajv({ allErrors: true, strict: false });
  const byKind = new Map(definitions.map((definition) => [definition.kind, definition]));
  if (byKind.size !== definitions.length) throw new WaybillError('invalid', 'two connectors have the same kind');
  const validators = new Map(definitions.map((definition) => [definition.kind, ajv.compile(definition.config)]));
  return {
    definitions,
    find: (kind) => byKind.get(kind),
    open(kind, config, secrets, context) {
      const definition = byKind.get(kind);
      const isValid = validators.get(kind);
      if (!definition || !isValid) throw unknownKind(kind, byKind);
      if (!isValid(config)) {
        const mistakes = (isValid.errors ?? []).map(({ instancePath, message }) => `config${instancePath} ${message}`);
        throw refused(definition, mistakes);
      }
      const checked = config as Static<TObject>;
      const strange = Object.keys(secrets).filter((name) => !(name in definition.secrets));
      const mistakes = strange.map((name) => `secret ${name} is not one that it understands`);
      const lint = definition.lint?.(checked, Object.keys(secrets)) ?? [];
      mistakes.push(...lint.map(({ field, message }) => `${field} ${message}`));
      if (mistakes.length > 0) throw refused(definition, mistakes);
      const { serves } = definition;
      // What a definition opens is what it says it serves: `defineConnector` has checked it.
      return { serves, endpoint: definition.open(checked, secrets, context) } as OpenedEndpoint;
    },
  };
}

/** The one list of what ships. The cast forgets each connector's own config type; `open` checks the config against the schema before it is used. */
export const builtInConnectors = [
  local,
  sftp,
  s3,
  http,
  smtp,
  slack,
  teams,
] as unknown as readonly ConnectorDefinition[];

function unknownKind(kind: string, known: ReadonlyMap<string, unknown>): WaybillError {
  const names = [...known.keys()].join(', ');
  return new WaybillError('invalid', `there is no connector ${JSON.stringify(kind)}; known: ${names}`, {
    field: 'connector',
  });
}

function refused(definition: ConnectorDefinition, mistakes: string[]): WaybillError {
  return new WaybillError(
    'invalid',
    `the configuration of connector ${definition.kind} is not valid: ${mistakes.join('; ')}`,
    {
      field: 'config',
    },
  );
}

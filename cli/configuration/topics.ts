import { type ApiErrorCode, apiErrorCodes, docsUrl } from '../../api/errorCatalogue.ts';
import type { ConnectorDefinition } from '../../connectors/contract.ts';
import { builtInConnectors } from '../../connectors/registry.ts';
import { type DiagnosticCode, diagnosticCodes, docsUrlOf } from '../../language/codes.ts';
import { type FunctionEntry, functionReference } from '../../language/functionReference.ts';
import { nearest } from '../../language/nearest.ts';
import { describeRetry, describeTimeout } from '../../language/policyWords.ts';
import { fieldReference, type KeyReference, keyReference, outputReference } from '../../language/reference.ts';
import { type ActionManifest, actions } from '../../schema/actions.ts';
import { type ErrorKind, errorKinds } from '../../schema/errors.ts';

/** What `waybill explain` tells about one thing. */
export interface Topic {
  kind: 'mistake in a file' | 'kind of failure' | 'error of the API' | 'action' | 'key' | 'function' | 'connector';
  name: string;
  summary: string;
  facts: [label: string, value: string][];
  tables: { title: string; fields: Pick<KeyReference, 'name' | 'type' | 'required' | 'default' | 'description'>[] }[];
  example: string | null;
  /** Where the docs tell more. */
  docs: string;
}

/** Everything of that name; the case of letters and `-` for `_` do not matter, an action may leave out its version, a key its owner. */
export function findTopics(word: string, connectors = builtInConnectors): Topic[] {
  const wanted = plain(word);
  const topics = allTopics(connectors);
  const exact = topics.filter(({ names }) => names.some((name) => plain(name) === wanted));
  const found =
    exact.length > 0 ? exact : topics.filter(({ names }) => names.some((name) => plain(name).endsWith(`.${wanted}`)));
  return found.map(({ topic }) => topic);
}

/** Names that were probably meant. */
export function suggestTopics(word: string, connectors = builtInConnectors): string[] {
  const names = allTopics(connectors).flatMap((entry) => entry.names);
  const bySpelling = nearest(plain(word), names.map(plain));
  return [...new Set(names.filter((name) => plain(name) === bySpelling))].slice(0, 3);
}

function plain(word: string): string {
  return word.trim().toLowerCase().replaceAll('_', '-');
}

interface Entry {
  names: string[];
  topic: Topic;
}

function allTopics(connectors: readonly ConnectorDefinition[]): Entry[] {
  return [
    ...(Object.keys(diagnosticCodes) as DiagnosticCode[]).map(mistakeTopic),
    ...(Object.keys(errorKinds) as ErrorKind[]).map(failureTopic),
    ...(Object.keys(apiErrorCodes) as ApiErrorCode[]).map(apiTopic),
    ...actions.map(actionTopic),
    ...keyReference().map(keyTopic),
    ...inputFields().map(fieldTopic),
    ...functionReference.map(functionTopic),
    ...connectors.map(connectorTopic),
  ];
}

function entry(names: string[], topic: Pick<Topic, 'kind' | 'name' | 'summary' | 'docs'> & Partial<Topic>): Entry {
  return { names, topic: { facts: [], tables: [], example: null, ...topic } };
}

function mistakeTopic(code: DiagnosticCode): Entry {
  const [severity, summary, advice] = diagnosticCodes[code];
  const facts: Topic['facts'] = [
    ['severity', severity],
    ['what to do', advice],
  ];
  return entry([code], { kind: 'mistake in a file', name: code, summary, facts, docs: docsUrlOf(code) });
}

function failureTopic(kind: ErrorKind): Entry {
  const { permanent, scope, advice } = errorKinds[kind];
  const givenBy = actions.filter((action) => action.errorKinds.includes(kind)).map(({ use }) => use);
  const facts: Topic['facts'] = [
    ['what to do', advice],
    ['given by', givenBy.length === actions.length ? 'every action' : givenBy.join(', ') || 'no action'],
  ];
  const summary = `A failure of the ${scope}, ${permanent ? 'not tried again by itself' : 'tried again by itself'}.`;
  return entry([kind], { kind: 'kind of failure', name: kind, summary, facts, docs: `docs/errors.md#${kind}` });
}

function apiTopic(code: ApiErrorCode): Entry {
  const [summary, advice] = apiErrorCodes[code];
  const facts: Topic['facts'] = [['what to do', advice]];
  return entry([code], { kind: 'error of the API', name: code, summary, facts, docs: docsUrl(code) });
}

function actionTopic(action: ActionManifest): Entry {
  const { use, summary, errorKinds: kinds } = action;
  const facts: Topic['facts'] = [
    ['a second call with the same input', action.idempotent ? 'changes nothing more' : 'may do it twice'],
    ['tried again', describeRetry(action.retry)],
    ['given up', describeTimeout(action.timeout)],
    ['kinds of failure', kinds.join(', ')],
  ];
  if (action.transfers) facts.unshift(['needs', 'an id: its deliveries are shown under it']);
  const tables = [
    { title: 'with', fields: fieldReference(action.input) },
    { title: 'gives, as steps.ID.*', fields: outputReference(action).map((field) => ({ ...field, required: false })) },
  ];
  const docs = `docs/reference.md#${use.replaceAll(/[.@]/g, '')}`.toLowerCase();
  return entry([use, use.split('@')[0]!], { kind: 'action', name: use, summary, facts, tables, docs });
}

function keyTopic({ name, places, type, required, default: fallback, description }: KeyReference): Entry {
  const facts: Topic['facts'] = [
    ['in', places.join(', ')],
    ['type', type],
    ['required', required ? 'yes' : 'no'],
  ];
  if (fallback !== null) facts.push(['default', fallback]);
  const docs = 'docs/reference.md#keys';
  return entry([name], { kind: 'key', name, summary: description, facts, docs });
}

interface InputField {
  field: KeyReference;
  uses: string[];
}

/** The inputs of all actions; those of several actions that mean the same stand once. */
function inputFields(): InputField[] {
  const fields: InputField[] = [];
  for (const action of actions)
    for (const field of fieldReference(action.input)) {
      const same = fields.find((known) => isSameField(known.field, field));
      if (same) same.uses.push(action.use);
      else fields.push({ field, uses: [action.use] });
    }
  return fields;
}

function isSameField(left: KeyReference, right: KeyReference): boolean {
  return left.name === right.name && left.type === right.type && left.description === right.description;
}

function fieldTopic({ field, uses }: InputField): Entry {
  const { topic } = keyTopic({ ...field, name: `with.${field.name}`, places: uses });
  return { names: [topic.name], topic };
}

function functionTopic({ name, signatures, summary, example, gives }: FunctionEntry): Entry {
  const facts: Topic['facts'] = [['written', signatures.join(', ')]];
  const shown = `${example}   gives ${JSON.stringify(gives)}`;
  const docs = 'docs/reference.md#functions';
  return entry([name, `${name}()`], { kind: 'function', name: `${name}()`, summary, facts, example: shown, docs });
}

function connectorTopic(connector: ConnectorDefinition): Entry {
  const { kind, summary, config, secrets } = connector;
  const secretFields = Object.entries(secrets).map(([name, { description }]) => ({
    ...{ name, type: 'secret', required: false, default: null, description },
  }));
  const tables = [
    { title: 'config', fields: fieldReference(config) },
    ...(secretFields.length > 0 ? [{ title: 'secrets', fields: secretFields }] : []),
  ];
  return entry([kind], { kind: 'connector', name: kind, summary, tables, docs: `docs/reference.md#${kind}` });
}

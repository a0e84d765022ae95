import type { CheckResult, SourceFile } from '../../language/check.ts';
import { check } from '../../language/check.ts';
import type { Diagnostic } from '../../schema/diagnostics.ts';
import { type ApiClient, errorFields, payloadOf, type TypedError } from '../client.ts';
import { openRegistry } from '../plugins/load.ts';
import type { Environment } from '../settings.ts';
import { collectFiles } from './collect.ts';
import { readDocumentSecrets } from './secrets.ts';

export { formatText } from '../../language/diagnostics.ts';

export interface Change {
  kind: string;
  name: string;
  change: 'created' | 'changed' | 'unchanged' | 'removed';
  version: string | null;
}

export interface Draft {
  checked: CheckResult;
  files: readonly SourceFile[];
}

/** Reads and checks the files of these paths, without a server. Throws invalid when one cannot be read. */
export async function readDraft(paths: readonly string[], pluginsFile: string | null = null): Promise<Draft> {
  const { definitions: connectors } = await openRegistry(pluginsFile);
  const files = await collectFiles(paths);
  const checked = check(files, { connectors });
  return { checked, files };
}

const applyMutation = `mutation Apply($input: ApplyConfigurationInput!) { applyConfiguration(input: $input) { ${errorFields}
  ... on ApplyConfigurationPayload { changes { kind name change version } diagnostics { ${diagnosticFields()} } }
  ... on InvalidInputError { diagnostics { ${diagnosticFields()} } } } }`;

/** Publishes a draft that is free of mistakes, all or nothing; with `dryRun` says what would change. Throws invalid with the server's diagnostics. */
export async function publish(
  client: ApiClient,
  draft: Draft,
  environment: Environment,
  options: { prune: boolean; dryRun: boolean },
): Promise<{ changes: Change[]; diagnostics: Diagnostic[] }> {
  const used = new Set(draft.checked.documents.map((document) => document.file));
  const documents = draft.files.filter(({ file }) => used.has(file)).map(({ file, text }) => ({ file, text }));
  const secrets = await readDocumentSecrets(draft.checked.documents, environment);
  const { applyConfiguration } = await client.request<{ applyConfiguration: Answer }>(applyMutation, {
    input: { documents, secrets, ...options },
  });
  return payloadOf(applyConfiguration);
}

type Answer = ({ __typename: string } & { changes: Change[]; diagnostics: Diagnostic[] }) | TypedError;

function diagnosticFields(): string {
  return 'code severity message file line column endLine endColumn suggestion docsUrl';
}

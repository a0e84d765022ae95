import type { SecretReference } from '../schema/configuration.ts';
import type { Diagnostic } from '../schema/diagnostics.ts';
import type { Json, Plan } from '../schema/plan.ts';
import { versionHash } from './compile.ts';
import { contentHash } from './contentHash.ts';
import { type DocumentKind, documentKind, looksOwn } from './documentKind.ts';
import { type ConnectorDefinitionLike, checkEndpoint } from './endpointDocument.ts';
import { isResourceName } from './names.ts';
import { checkPipeline } from './pipelineDocument.ts';
import type { Report } from './report.ts';
import { parseSource, type SourceDocument } from './source.ts';
import { checkWebhook } from './webhookDocument.ts';

export type { SecretReference } from '../schema/configuration.ts';
export type { ConnectorDefinitionLike } from './endpointDocument.ts';

export interface SourceFile {
  file: string;
  text: string;
}

export interface CheckOptions {
  connectors: readonly ConnectorDefinitionLike[];
  /** Names of the endpoints that are published already. Absent: whether an endpoint exists is not checked. */
  knownEndpoints?: ReadonlySet<string>;
  /** The applications that runs may act under. Absent: that is not checked. */
  knownApplications?: ReadonlySet<number>;
}

export type CheckedDocument =
  | { kind: 'pipeline'; name: string; file: string; source: string; plan: Plan; hash: string }
  | {
      kind: 'endpoint';
      name: string;
      file: string;
      connector: string;
      config: Record<string, Json>;
      limits: { concurrency?: number };
      secrets: Record<string, SecretReference>;
      hash: string;
    }
  | {
      kind: 'webhook';
      name: string;
      file: string;
      url: string;
      events: string[];
      secrets: Record<string, SecretReference>;
      hash: string;
    };

export interface CheckResult {
  /** No errors; there may be warnings. */
  ok: boolean;
  /** By file, then by place. */
  diagnostics: Diagnostic[];
  /** The documents without errors. */
  documents: CheckedDocument[];
  ignored: Array<{ file: string; reason: string }>;
}

/**
 * Checks files of pipelines, endpoints and webhooks: all mistakes at once, each with its place. What is not Waybill's
 * YAML is ignored with a reason. Pure; no input makes it throw.
 */
export function check(files: SourceFile[], options: CheckOptions): CheckResult {
  const result: CheckResult = { ok: true, diagnostics: [], documents: [], ignored: [] };
  // Only where endpoints are looked up must every file be read before the first is checked; else one is held at a time.
  const read = options.knownEndpoints ? files.map((source) => readFile(source, result)) : undefined;
  const endpoints = allEndpoints(read ?? [], options);
  const names = new Map<string, string>();
  for (const [index, file] of files.entries()) {
    const source = read?.[index] ?? readFile(file, result);
    for (const { kind, document } of source.documents) {
      reportDuplicate(source, kind, document, names);
      const checked = checkDocument(source, kind, document, endpoints, options);
      if (checked) result.documents.push(checked);
    }
    const sorted = [...source.report.diagnostics].sort(
      (left, right) => left.line - right.line || left.column - right.column,
    );
    result.diagnostics.push(...sorted);
  }
  result.ok = result.diagnostics.every((diagnostic) => diagnostic.severity !== 'error');
  return result;
}

interface OwnSource {
  file: string;
  report: Report;
  documents: Array<{ kind: DocumentKind; document: SourceDocument }>;
}

function readFile({ file, text }: SourceFile, result: CheckResult): OwnSource {
  const nothing: OwnSource = { file, report: parseSource(file, '').report, documents: [] };
  if (/\.test\.ya?ml$/.test(file)) {
    result.ignored.push({ file, reason: 'tests of a pipeline are not published' });
    return nothing;
  }
  const isMeant = looksOwn(text);
  const parsed = parseSource(file, text);
  const documents: OwnSource['documents'] = [];
  let foreign = 0;
  for (const document of parsed.documents) {
    const kind = documentKind(document);
    if (kind) documents.push({ kind, document });
    else if (!isMeant || document.sound) foreign++;
  }
  if (documents.length === 0 && !isMeant) {
    result.ignored.push({
      file,
      reason:
        parsed.documents.length === 0 && parsed.report.errors === 0
          ? 'it is empty'
          : 'it has no pipeline, endpoint or webhook',
    });
    return nothing;
  }
  if (foreign > 0)
    result.ignored.push({
      file,
      reason: `${foreign} of its documents ${foreign === 1 ? 'is no' : 'are no'} pipeline, endpoint or webhook`,
    });
  return { file, report: parsed.report, documents };
}

function allEndpoints(sources: readonly OwnSource[], options: CheckOptions): ReadonlySet<string> | undefined {
  if (!options.knownEndpoints) return undefined;
  const names = new Set(options.knownEndpoints);
  for (const { documents } of sources) {
    for (const { kind, document } of documents) {
      const name = document.root.entries?.get('endpoint')?.value.value;
      if (kind === 'endpoint' && typeof name === 'string') names.add(name);
    }
  }
  return names;
}

function reportDuplicate(
  source: OwnSource,
  kind: DocumentKind,
  document: SourceDocument,
  names: Map<string, string>,
): void {
  const name = document.root.entries?.get(kind)?.value;
  if (!name || !isResourceName(name.value)) return;
  const key = `${kind} ${name.value}`;
  const first = names.get(key);
  if (first !== undefined)
    source.report.add(
      'DUPLICATE_NAME',
      name.range,
      `there are two documents \`${kind}: ${name.value}\`; the other one is in ${first}`,
    );
  else names.set(key, source.file);
}

function checkDocument(
  { file, report }: OwnSource,
  kind: DocumentKind,
  document: SourceDocument,
  endpoints: ReadonlySet<string> | undefined,
  options: CheckOptions,
): CheckedDocument | null {
  const { root, sound, complete } = document;
  if (!complete) return null;
  if (kind === 'pipeline') {
    const plan = checkPipeline(root, report, { endpoints, applications: options.knownApplications });
    return plan && sound
      ? { kind, name: plan.pipeline, file, source: document.text, plan, hash: versionHash(root.value) }
      : null;
  }
  if (kind === 'endpoint') {
    const endpoint = checkEndpoint(root, report, options.connectors);
    return endpoint && sound
      ? { kind, file, ...endpoint, hash: contentHash({ ...endpoint } as unknown as Json) }
      : null;
  }
  const webhook = checkWebhook(root, report);
  return webhook && sound ? { kind, file, ...webhook, hash: contentHash({ ...webhook } as unknown as Json) } : null;
}

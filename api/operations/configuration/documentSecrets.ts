import { signWebhook } from '../../../audit/webhookSigning.ts';
import { type HostReference, hostReferenceText } from '../../../identity/hostSecrets.ts';
import type { CheckedDocument, SourceFile } from '../../../language/check.ts';
import type { Diagnostic } from '../../../schema/diagnostics.ts';
import { asWaybillError, WaybillError } from '../../../schema/errors.ts';
import { checkValue } from '../secrets.ts';
import { secretDiagnostic } from './place.ts';

/** A value that the client read for `{ file }` or `{ env }`. */
export interface DocumentSecret {
  kind: string;
  name: string;
  secret: string;
  value: string;
}

export type SecretDocument = Exclude<CheckedDocument, { kind: 'pipeline' }>;

/** The secrets of one document: under which name each is stored, and the values that were sent. */
export interface ResolvedSecrets {
  references: Record<string, string>;
  values: Map<string, string>;
}

/**
 * Finds every secret of the documents, sent or stored. A missing or unusable one is a diagnostic at its place. Throws
 * invalid for a value that no document names.
 */
export function resolveSecrets(
  documents: readonly CheckedDocument[],
  files: readonly SourceFile[],
  sent: readonly DocumentSecret[],
  stored: ReadonlySet<string>,
  checkHost: (reference: HostReference) => void,
): { resolved: Map<CheckedDocument, ResolvedSecrets>; diagnostics: Diagnostic[] } {
  const values = new Map(sent.map((secret) => [storedName(secret, secret.secret), secret.value]));
  const resolved = new Map<CheckedDocument, ResolvedSecrets>();
  const diagnostics: Diagnostic[] = [];
  const named = new Set<string>();
  const refusalOfHost = (reference: HostReference) => {
    try {
      checkHost(reference);
      return null;
    } catch (thrown) {
      return { code: 'SECRET_INVALID' as const, message: asWaybillError(thrown).message, suggestion: null };
    }
  };
  for (const document of documents) {
    if (document.kind === 'pipeline') continue;
    const found: ResolvedSecrets = { references: {}, values: new Map() };
    for (const [secret, reference] of Object.entries(document.secrets)) {
      if ('workerFile' in reference || 'workerEnv' in reference) {
        const refusal = refusalOfHost(reference);
        const file = files.find((one) => one.file === document.file);
        if (refusal !== null && file) diagnostics.push(secretDiagnostic(file, document, secret, refusal));
        found.references[secret] = hostReferenceText(reference);
        continue;
      }
      const name = 'secret' in reference ? reference.secret : storedName(document, secret);
      const value = 'secret' in reference ? undefined : values.get(name);
      const mistake = mistakeOf(document, secret, name, value, stored, 'secret' in reference);
      const file = files.find((one) => one.file === document.file);
      if (mistake !== null && file) diagnostics.push(secretDiagnostic(file, document, secret, mistake));
      found.references[secret] = name;
      if (value !== undefined) found.values.set(name, value);
      named.add(name);
    }
    resolved.set(document, found);
  }
  const strange = [...values.keys()].find((name) => !named.has(name));
  if (strange !== undefined)
    throw new WaybillError('invalid', `no document names the secret ${JSON.stringify(strange)}`, { field: 'secrets' });
  return { resolved, diagnostics };
}

/** Name under which a document's own secret is stored; no name that a person gives holds a slash. */
function storedName(document: { kind: string; name: string }, secret: string): string {
  return `${document.kind}/${document.name}/${secret}`;
}

function mistakeOf(
  document: SecretDocument,
  secret: string,
  name: string,
  value: string | undefined,
  stored: ReadonlySet<string>,
  isNamed: boolean,
) {
  if (value === undefined) {
    if (stored.has(name) && !(isNamed && name.includes('/'))) return null;
    const message = isNamed
      ? `there is no stored secret ${JSON.stringify(name)}`
      : `the value of secret ${secret} was neither sent nor stored before`;
    const suggestion = isNamed ? `waybill secrets set ${name}` : null;
    return { code: 'SECRET_MISSING' as const, message, suggestion };
  }
  try {
    checkValue(value);
    // Signing something tells whether the secret can be used.
    if (document.kind === 'webhook' && secret === 'signing') signWebhook(value, 'msg_check', 0, '');
    return null;
  } catch (thrown) {
    return { code: 'SECRET_INVALID' as const, message: asWaybillError(thrown).message, suggestion: null };
  }
}

import { type Applied, type ApplyConfigurationInput, applyConfiguration } from '../operations/applyConfiguration.ts';
import type { Change } from '../operations/configuration/changes.ts';
import type { DocumentSecret } from '../operations/configuration/documentSecrets.ts';
import { builder } from './builder.ts';
import { asResult, forbidden, resultUnion } from './errors.ts';
import { DiagnosticType } from './types.ts';

const DocumentInput = builder.inputRef<{ file: string; text: string }>('DocumentInput').implement({
  description:
    'One file, with its path as the engineer knows it. Secrets that it names by { file } or { env } have been read by the client.',
  fields: (t) => ({ file: t.string({ required: true }), text: t.string({ required: true }) }),
});

const DocumentSecretInput = builder.inputRef<DocumentSecret>('DocumentSecretInput').implement({
  fields: (t) => ({
    kind: t.string({ required: true, description: 'endpoint or webhook' }),
    name: t.string({ required: true }),
    secret: t.string({ required: true }),
    value: t.string({ required: true }),
  }),
});

const Input = builder.inputRef<ApplyConfigurationInput>('ApplyConfigurationInput').implement({
  fields: (t) => ({
    documents: t.field({ type: [DocumentInput], required: true }),
    secrets: t.field({ type: [DocumentSecretInput] }),
    prune: t.boolean({ description: 'Remove what the documents do not hold.' }),
    dryRun: t.boolean({ description: 'Say what would change, and change nothing.' }),
  }),
});

const ChangeType = builder.objectRef<Change>('Change').implement({
  fields: (t) => ({
    kind: t.exposeString('kind', { description: 'pipeline, endpoint or webhook' }),
    name: t.exposeString('name'),
    change: t.exposeString('change', { description: 'created, changed, unchanged or removed' }),
    version: t.exposeString('version', { nullable: true }),
  }),
});

const IgnoredFileType = builder.objectRef<{ file: string; reason: string }>('IgnoredFile').implement({
  fields: (t) => ({ file: t.exposeString('file'), reason: t.exposeString('reason') }),
});

const Payload = builder.objectRef<Applied>('ApplyConfigurationPayload').implement({
  fields: (t) => ({
    changes: t.expose('changes', { type: [ChangeType], description: 'In the order of the documents; removals last.' }),
    diagnostics: t.expose('diagnostics', { type: [DiagnosticType], description: 'Warnings.' }),
    ignored: t.expose('ignored', { type: [IgnoredFileType], description: 'Files that are not ours.' }),
  }),
});

builder.mutationField('applyConfiguration', (t) =>
  t.field({
    type: resultUnion('ApplyConfigurationResult', Payload, ['InvalidInputError', 'ForbiddenError', 'ConflictError']),
    description: 'Publishes all documents or none. With dryRun, says what would change.',
    authScopes: { may: 'pipeline:publish' },
    unauthorizedResolver: forbidden,
    args: { input: t.arg({ type: Input, required: true }) },
    resolve: (_, { input }, { operation }) => asResult(() => applyConfiguration(operation, input)),
  }),
);

/**
 * The table of everything the checker can say: stable code, what it means, what to do. The reference in the docs and
 * `docsUrl` are made from it.
 */
export const diagnosticCodes = {
  FILE_TOO_LARGE: ['error', 'The file is larger than 1 MiB, or has too many parts.', 'Split it into several files.'],
  TOO_DEEP: ['error', 'Values or blocks are nested too deeply.', 'Flatten the structure.'],
  TOO_MANY_MISTAKES: ['error', 'Only the first mistakes of the file are listed.', 'Correct those and check again.'],
  YAML_SYNTAX: [
    'error',
    'The text is not valid YAML.',
    'Quote texts that hold : # { } [ ] or begin with a special sign.',
  ],
  EXPRESSION_NOT_QUOTED: [
    'error',
    'An unquoted ${{ }} is read as YAML.',
    'Put the whole text in quotes: "${{ a ? b : c }}".',
  ],
  DUPLICATE_KEY: ['error', 'A key stands twice in one mapping.', 'Remove one of the two.'],
  UNSUPPORTED_YAML: [
    'error',
    'YAML features that are not part of the language: tags, complex keys, __proto__.',
    'Write plain keys and values.',
  ],
  LEADING_ZERO: [
    'warning',
    'A number begins with a zero: YAML 1.1 read it as octal, YAML 1.2 as decimal.',
    'Leave the zero out, or put the value in quotes.',
  ],
  UNKNOWN_ALIAS: [
    'error',
    'A YAML alias (*name) without its anchor (&name) before it.',
    'Define the anchor before the alias.',
  ],
  TOO_MANY_ALIASES: ['error', 'YAML aliases expand to too many values.', 'Write the values out, or use fewer aliases.'],
  UNKNOWN_KEY: [
    'error',
    'A key that the language does not know at this place.',
    'Correct the spelling or remove the key.',
  ],
  NOT_AVAILABLE: [
    'error',
    'A part of the language that this version of Waybill does not have.',
    'Remove the key, or upgrade Waybill.',
  ],
  MISPLACED_KEY: ['error', 'A key that has no meaning at its place.', 'Remove it, or move it where the message says.'],
  MISSING_KEY: ['error', 'A required key is missing.', 'Add the key.'],
  INVALID_VALUE: [
    'error',
    'A value has the wrong type, form or range.',
    'Use one of the values that the message names.',
  ],
  UNKNOWN_VERSION: ['error', 'apiVersion is missing or not one that is known.', 'Write `apiVersion: waybill/v1`.'],
  INVALID_NAME: ['error', 'A name breaks the rules of names.', 'Follow the form in the message.'],
  RESERVED_NAME: ['error', 'A name that means something else here.', 'Choose another name.'],
  DUPLICATE_NAME: ['error', 'Two steps, or two documents of one kind, have the same name.', 'Rename one of them.'],
  AMBIGUOUS_STEP: [
    'error',
    'A step must be exactly one of: use, forEach, parallel, wait, or steps (a group).',
    'Split it into several steps.',
  ],
  STEP_NEEDS_ID: ['error', 'A step that transfers files has no id; its deliveries are shown under it.', 'Add `id:`.'],
  UNKNOWN_ACTION: [
    'error',
    'There is no action of that name and version.',
    'Use one of the known actions, with its @version.',
  ],
  INVALID_EXPRESSION: ['error', 'The expression is not valid CEL.', 'Correct it at the marked place.'],
  UNKNOWN_REFERENCE: ['error', 'The expression names something that does not exist.', 'Use a name that is in scope.'],
  STEP_NOT_IN_SCOPE: [
    'error',
    'The expression names a step that has not run there.',
    'Refer only to earlier steps of the same or an outer block.',
  ],
  UNKNOWN_FUNCTION: [
    'error',
    'The function does not exist or is not allowed.',
    'Use one of the functions of the language.',
  ],
  TYPE_MISMATCH: ['error', 'The type of an expression does not fit.', 'Convert it: string(x), int(x), double(x).'],
  EXPRESSION_NOT_ALLOWED: ['error', 'An expression at a place that must be written out.', 'Write the value itself.'],
  UNKNOWN_ERROR_KIND: [
    'error',
    'A condition compares error.kind with something that is no kind of failure.',
    'Use one of the kinds of failure.',
  ],
  UNKNOWN_ENDPOINT_ALIAS: [
    'error',
    'The alias is not declared under `endpoints:`.',
    'Declare it, or correct the spelling.',
  ],
  UNKNOWN_ENDPOINT: [
    'error',
    'No endpoint of that name is published or among the files.',
    'Publish the endpoint first, or with the pipeline.',
  ],
  UNKNOWN_APPLICATION: [
    'error',
    'No run may act under that application: it is reserved, not registered, or disabled.',
    'Register it with waybill apps register, or leave it out.',
  ],
  INVALID_LOCATION: [
    'error',
    'A location that is not well-formed.',
    'Write `alias:/path` or { endpoint: alias, path: /path }.',
  ],
  INVALID_PATH: [
    'error',
    'A path or glob that is not allowed.',
    'Write an absolute path below the root of the endpoint, without `.` and `..`.',
  ],
  GLOB_NOT_ALLOWED: [
    'error',
    'A glob at a place that takes exactly one file.',
    'Name one file, or loop over files.list.',
  ],
  TARGET_NOT_FOLDER: ['error', 'The target of a glob is not a folder.', 'End the target path in /.'],
  SAME_TARGET: [
    'error',
    'Two targets of a transfer are the same place, or with `once: version` at the same endpoint.',
    'Remove one of them, or give it another path.',
  ],
  RESERVED_EVENT: [
    'error',
    'An event name of a family that only Waybill itself writes.',
    'Begin the name with a word of your own, such as orders.received.',
  ],
  UNKNOWN_CONNECTOR: ['error', 'There is no connector of that kind.', 'Use one of the installed connectors.'],
  INVALID_ENDPOINT: ['error', 'The configuration of an endpoint is not complete or not safe.', 'Follow the message.'],
  INLINE_SECRET: [
    'error',
    'A secret stands in the file.',
    'Refer to it: { file: ./path }, { env: NAME } or { secret: name }. Replace the secret: it has been seen.',
  ],
  UNKNOWN_SECRET: [
    'error',
    'The connector does not know a secret of that name.',
    'Use one of the names in the message.',
  ],
  INVALID_WEBHOOK: ['error', 'A webhook that cannot be called.', 'Follow the message.'],
  UNKNOWN_EVENT: ['warning', 'A filter that no event of Waybill matches.', 'Correct the spelling.'],
  UNUSED_RETRY_KIND: ['warning', 'retry.notOn names an error that the action never gives.', 'Remove it.'],
  UNUSED_ERROR_KIND: [
    'warning',
    'A condition is for a kind of failure that the steps never give.',
    'Remove it, or correct the kind.',
  ],
  RETRY_NOT_IDEMPOTENT: [
    'warning',
    'An action that does its work again with each attempt is tried more than once.',
    'Write `retry: { attempts: 1 }`, unless twice does no harm.',
  ],
  MANY_AT_ONCE: [
    'warning',
    'Very many steps may run at the same time.',
    'Say a smaller maxParallel, here or in a block around it.',
  ],
  SOURCE_DISPOSED_EARLY: [
    'warning',
    'A source is moved or deleted before another step has copied it.',
    'Put `then` on the last step that copies it.',
  ],
  WAIT_WITHOUT_DEADLINE: ['warning', 'A wait for a condition does not say when it gives up.', 'Say `deadline:`.'],
  CONSTANT_CONDITION: ['warning', 'A condition that is always the same.', 'Correct or remove it.'],
  GROUP_WITHOUT_EFFECT: [
    'warning',
    'A group that changes nothing: its steps could stand in its place.',
    'Move its steps out, or give it an `if`, `onError` or `compensate`.',
  ],
  NOTHING_TO_UNDO: ['warning', '`compensate` on a step that only reads.', 'Put it on the step that changes something.'],
  TOLERATES_NOTHING: ['warning', '`tolerate` of nothing is what goes without saying.', 'Remove it, or tolerate more.'],
  UNUSED_VAR: ['warning', 'A variable under `vars:` is never used.', 'Remove it.'],
  UNUSED_ALIAS: ['warning', 'An alias under `endpoints:` is never used.', 'Remove it.'],
  GLOB_MATCHES_EVERYTHING: ['warning', 'The glob matches every file of the endpoint.', 'Name a folder or a suffix.'],
  SENT_AGAIN_EVERY_RUN: [
    'warning',
    'The source stays and the target path differs with each run: every run will send every file again.',
    'Say `once: version`, or dispose of the source with `then`.',
  ],
} as const satisfies Record<string, readonly [severity: 'error' | 'warning', summary: string, advice: string]>;

export type DiagnosticCode = keyof typeof diagnosticCodes;

/** Where the docs tell more: an anchor, relative to the root of the documentation. */
export function docsUrlOf(code: DiagnosticCode): string {
  return `docs/errors.md#${code.toLowerCase().replaceAll('_', '-')}`;
}

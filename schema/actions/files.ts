import { Type } from 'typebox';
import type { ActionManifest } from '../actions.ts';
import { conflict, Location, long, onEmpty, patient, reachErrors, selection, short } from './terms.ts';

/** The most that `files.read` gives and `files.write` takes: it travels through the history of the run. */
export const maxTextBytes = 64 * 1024;

const fileSet = Type.Object(
  { ref: Type.String(), count: Type.Integer(), bytes: Type.Integer() },
  { 'x-file-set': true, description: 'A reference to a listing: .count, .bytes, .first(n).' },
);

/** Actions on files of one endpoint. */
export const fileActions: readonly ActionManifest[] = [
  {
    use: 'files.list@1',
    summary: 'Lists files into a file set: a reference, never an array.',
    input: Type.Object(
      {
        from: Location('files', 'What to list.'),
        ...selection,
        sort: Type.Optional(
          Type.Union(
            ['path', 'name', 'size', 'modified'].flatMap((field) => [Type.Literal(field), Type.Literal(`-${field}`)]),
            {
              description:
                'The order of the set, `-` before it for the reverse: path, name, size or modified. Without it, the order in which the server lists.',
            },
          ),
        ),
        onEmpty: Type.Optional(onEmpty),
      },
      { additionalProperties: false },
    ),
    output: Type.Object({ files: fileSet }),
    idempotent: true,
    heartbeats: true,
    transfers: false,
    errorKinds: reachErrors,
    retry: patient,
    timeout: long,
  },
  {
    use: 'files.move@1',
    summary: 'Moves one file within its endpoint.',
    input: Type.Object(
      {
        from: Location('file', 'The file to move.'),
        to: Type.String({
          minLength: 1,
          maxLength: 4096,
          'x-path': 'path',
          description: 'The new path on the same endpoint; one that ends in / is a folder.',
        }),
        onConflict: Type.Optional(conflict('What to do when the new path exists.')),
      },
      { additionalProperties: false },
    ),
    output: Type.Object({ path: Type.String() }),
    idempotent: true,
    heartbeats: false,
    transfers: false,
    errorKinds: [...reachErrors, 'exists'],
    retry: patient,
    timeout: short,
  },
  {
    use: 'files.delete@1',
    summary: 'Deletes one file; deleting what is gone succeeds.',
    input: Type.Object({ at: Location('file', 'The file to delete.') }, { additionalProperties: false }),
    output: Type.Object({ path: Type.String() }),
    idempotent: true,
    heartbeats: false,
    transfers: false,
    errorKinds: reachErrors,
    retry: patient,
    timeout: short,
  },
  {
    use: 'files.stat@1',
    summary: 'Looks at what is at a path; that nothing is there is an answer, not a failure.',
    input: Type.Object({ at: Location('place', 'The file or folder to look at.') }, { additionalProperties: false }),
    output: Type.Object({
      found: Type.Boolean({ description: 'whether anything is there' }),
      path: Type.String(),
      name: Type.String({ description: 'the last part of the path' }),
      kind: Type.Union([Type.String(), Type.Null()], { description: 'file, folder, link or other; null when absent' }),
      size: Type.Integer({ description: 'bytes; 0 for what is not a file' }),
      modified: Type.Union([Type.String(), Type.Null()], {
        description: 'time of the last change in UTC, or null when the server does not say',
      }),
    }),
    idempotent: true,
    heartbeats: false,
    transfers: false,
    errorKinds: reachErrors,
    retry: patient,
    timeout: short,
  },
  {
    use: 'files.read@1',
    summary: 'Reads a small file into the run: a marker, a manifest, a setting. Never for what is to be delivered.',
    input: Type.Object(
      {
        at: Location('file', 'The file to read.'),
        maxBytes: Type.Optional(
          Type.Integer({
            minimum: 1,
            maximum: maxTextBytes,
            default: maxTextBytes,
            description: 'A larger file is refused with invalid. At most 65536.',
          }),
        ),
        encoding: Type.Optional(
          Type.Union([Type.Literal('utf-8'), Type.Literal('base64')], {
            default: 'utf-8',
            description: 'How the bytes become text: utf-8 refuses what is not UTF-8, base64 takes any bytes.',
          }),
        ),
        parse: Type.Optional(
          Type.Union([Type.Literal('none'), Type.Literal('json')], {
            default: 'none',
            description: 'json: the text is read as JSON and given as `json`; refused with invalid when it is not.',
          }),
        ),
      },
      { additionalProperties: false },
    ),
    output: Type.Object({
      text: Type.String({ description: 'the content; empty when it is given as `json`' }),
      json: Type.Any({ description: 'the parsed value with parse: json, else null' }),
      size: Type.Integer({ description: 'bytes of the file' }),
      sha256: Type.String({ description: 'of the bytes, in hexadecimal' }),
    }),
    idempotent: true,
    heartbeats: false,
    transfers: false,
    errorKinds: [...reachErrors, 'conflict'],
    retry: patient,
    timeout: short,
  },
  {
    use: 'files.write@1',
    summary: 'Writes a small text or JSON file, whole and at once: a marker, a manifest, a receipt.',
    input: Type.Object(
      {
        to: Location('file', 'The file to write. Missing folders above it are made.'),
        text: Type.Optional(
          Type.String({ description: 'The content, at most 64 KiB in UTF-8. Either this or `json`.' }),
        ),
        json: Type.Optional(
          Type.Any({
            description: 'A value that is written as indented JSON, at most 64 KiB. Either this or `text`.',
            'x-template': true,
          }),
        ),
        onConflict: Type.Optional(conflict('What to do when the file exists.')),
      },
      { additionalProperties: false, 'x-one-of': ['text', 'json'] },
    ),
    output: Type.Object({
      path: Type.String({ description: 'where it was written: with onConflict: version, maybe under another name' }),
      bytes: Type.Integer(),
      sha256: Type.String({ description: 'of the bytes, in hexadecimal' }),
    }),
    idempotent: true,
    heartbeats: false,
    transfers: false,
    errorKinds: [...reachErrors, 'exists', 'conflict', 'integrity', 'disk-full', 'quota'],
    retry: patient,
    timeout: short,
  },
  {
    use: 'files.makeFolder@1',
    summary: 'Makes a folder and what is missing above it; that it is there already is success.',
    input: Type.Object({ at: Location('place', 'The folder to make.') }, { additionalProperties: false }),
    output: Type.Object({
      path: Type.String(),
      created: Type.Boolean({ description: 'false when the folder was there already' }),
    }),
    idempotent: true,
    heartbeats: false,
    transfers: false,
    errorKinds: [...reachErrors, 'exists', 'disk-full', 'quota'],
    retry: patient,
    timeout: short,
  },
];

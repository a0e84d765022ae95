import { Type } from 'typebox';
import type { ActionManifest } from '../actions.ts';
import { conflict, Location, long, onEmpty, patient, reachErrors, selection, Targets } from './terms.ts';

/** Actions that deliver files and keep the ledger. */
export const transferActions: readonly ActionManifest[] = [
  {
    use: 'transfer.copy@1',
    summary: 'Copies a file, or every file of a glob, whole and once, and then disposes of the source.',
    input: Type.Object(
      {
        from: Location('files', 'A file, or a glob.'),
        to: Targets(
          'A file, or a folder when it ends in /; or a list of them, which each get every file. A glob needs folders; paths below the fixed part of the glob are kept.',
        ),
        then: Type.Optional(
          Type.Union(
            [
              Type.Object(
                {
                  move: Type.String({
                    minLength: 1,
                    'x-path': 'path',
                    description: 'Path or folder (ends in /) on the source endpoint.',
                  }),
                  onConflict: Type.Optional(conflict('What to do when that path exists.')),
                },
                { additionalProperties: false },
              ),
              Type.Object(
                { delete: Type.Literal(true, { description: 'The source is deleted.' }) },
                { additionalProperties: false },
              ),
            ],
            { description: 'What happens to the source after the delivery to every required target has committed.' },
          ),
        ),
        verify: Type.Optional(
          Type.Union([Type.Literal('hash'), Type.Literal('readback'), Type.Literal('size')], {
            default: 'hash',
            description:
              'hash: the strongest thing the target can say; readback: read the target again; size: the least.',
          }),
        ),
        onConflict: Type.Optional(conflict('What to do when the target path exists.')),
        once: Type.Optional(
          Type.Union([Type.Literal('target'), Type.Literal('version'), Type.Literal('content'), Type.Literal('off')], {
            default: 'target',
            description:
              'What counts as the same delivery: source version and target path; source version alone; SHA-256 and target path; nothing.',
          }),
        ),
        recheck: Type.Optional(
          Type.Boolean({
            default: false,
            description:
              'Looks whether a file that was delivered is still at the target, and delivers it again if not.',
          }),
        ),
        ...selection,
        onEmpty: Type.Optional(onEmpty),
      },
      { additionalProperties: false },
    ),
    output: Type.Object({
      transfer: Type.String({ description: 'public id, `tr_...`' }),
      files: Type.Integer({ description: 'deliveries made in this run: a file to three targets is three' }),
      bytes: Type.Integer({ description: 'sent to targets' }),
      skipped: Type.Integer({ description: 'already delivered' }),
      failed: Type.Integer({ description: 'given up' }),
    }),
    idempotent: true,
    heartbeats: true,
    transfers: true,
    errorKinds: [...reachErrors, 'exists', 'conflict', 'integrity', 'disk-full', 'quota'],
    retry: patient,
    timeout: long,
  },
];

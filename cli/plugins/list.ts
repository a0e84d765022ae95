import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { Type } from 'typebox';
import { Value } from 'typebox/value';
import { parse } from 'yaml';
import { WaybillError } from '../../schema/errors.ts';

/** A folder with connectors, and the fingerprint that the operator has pinned it by. */
export interface PinnedPlugin {
  /** Absolute. */
  folder: string;
  sha256: string;
}

const listSchema = Type.Array(
  Type.Object(
    { path: Type.String({ minLength: 1 }), sha256: Type.String({ pattern: '^[0-9a-f]{64}$' }) },
    { additionalProperties: false },
  ),
  { maxItems: 100 },
);

/** The file that WAYBILL_PLUGINS names, YAML or JSON; its paths are relative to it. Throws invalid. */
export async function readPluginList(file: string): Promise<PinnedPlugin[]> {
  const entries = await readEntries(file);
  if (!Value.Check(listSchema, entries))
    throw new WaybillError(
      'invalid',
      `${file} (WAYBILL_PLUGINS) must be a list of { path, sha256 }, with the 64 characters that \`waybill plugins hash FOLDER\` prints`,
    );
  return entries.map((entry) => ({ folder: path.resolve(path.dirname(file), entry.path), sha256: entry.sha256 }));
}

async function readEntries(file: string): Promise<unknown> {
  try {
    return parse(await readFile(file, 'utf8'));
  } catch (cause) {
    const why = (cause as NodeJS.ErrnoException).code ?? 'it is neither YAML nor JSON';
    throw new WaybillError('invalid', `${file} (WAYBILL_PLUGINS) cannot be read: ${why}`, { cause });
  }
}

import { readFile } from 'node:fs/promises';
import { registerHooks } from 'node:module';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { ConnectorDefinition } from '../../connectors/contract.ts';
import { builtInConnectors, type ConnectorRegistry, createRegistry } from '../../connectors/registry.ts';
import { WaybillError } from '../../schema/errors.ts';
import { mistakesOf } from './definition.ts';
import { fingerprintFolder } from './fingerprint.ts';
import { type PinnedPlugin, readPluginList } from './list.ts';

export interface LoadedPlugin extends PinnedPlugin {
  /** Of its package.json, else the name of its folder. */
  name: string;
  version: string | null;
  definitions: readonly ConnectorDefinition[];
}

/** Our connectors, and those of the plugins that the operator has listed in this file. Throws what `loadPlugins` throws. */
export async function openRegistry(pluginsFile: string | null): Promise<ConnectorRegistry> {
  if (pluginsFile === null) return createRegistry();
  const plugins = await loadPlugins(pluginsFile);
  return createRegistry([...builtInConnectors, ...plugins.flatMap(({ definitions }) => definitions)]);
}

/**
 * Loads every plugin of the list; all or none. Throws forbidden when a folder is not what was pinned, invalid when it holds no
 * connector, or one that is not well made or has the kind of another.
 */
export async function loadPlugins(pluginsFile: string): Promise<LoadedPlugin[]> {
  const pinned = await readPluginList(pluginsFile);
  // Nothing of any plugin runs before all of them are what was pinned.
  for (const plugin of pinned) await expectPinned(plugin);
  const ownerOf = new Map(builtInConnectors.map(({ kind }) => [kind, 'Waybill itself']));
  const loaded: LoadedPlugin[] = [];
  for (const plugin of pinned) {
    const { name, version, main } = await readManifest(plugin.folder);
    const definitions = await importDefinitions(plugin.folder, main);
    for (const { kind } of definitions) {
      const owner = ownerOf.get(kind);
      if (owner !== undefined)
        throw new WaybillError('invalid', `plugin ${name}: the connector ${kind} is already that of ${owner}`);
      ownerOf.set(kind, `plugin ${name}`);
    }
    loaded.push({ ...plugin, name, version, definitions });
  }
  return loaded;
}

async function expectPinned({ folder, sha256 }: PinnedPlugin): Promise<void> {
  const found = await fingerprintFolder(folder);
  if (found === sha256) return;
  throw new WaybillError(
    'forbidden',
    `plugin ${folder} is not the one that was pinned: expected ${sha256}, found ${found}. Pin it again only when you know why it changed`,
  );
}

async function readManifest(folder: string): Promise<{ name: string; version: string | null; main: string }> {
  const file = path.join(folder, 'package.json');
  const text = await readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    throw new WaybillError('invalid', `plugin ${folder} has no package.json that can be read`, { cause });
  });
  const { name, version, main } = parseObject(text, file);
  return {
    name: typeof name === 'string' ? name : path.basename(folder),
    version: typeof version === 'string' ? version : null,
    main: typeof main === 'string' ? main : 'index.js',
  };
}

function parseObject(text: string, file: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  } catch {
    // Said below, without a word of the parser, which may quote the file.
  }
  throw new WaybillError('invalid', `${file} is not a JSON object`);
}

async function importDefinitions(folder: string, main: string): Promise<ConnectorDefinition[]> {
  const entry = path.resolve(folder, main);
  if (!entry.startsWith(folder + path.sep))
    throw new WaybillError('invalid', `plugin ${folder}: its entry ${main} is not in the folder, so it is not pinned`);
  resolveWaybillFor(folder);
  const module = await import(pathToFileURL(entry).href).catch((cause: unknown) => {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new WaybillError('invalid', `plugin ${folder} cannot be loaded: ${why}`, { cause });
  });
  const given: unknown[] = [module.default].flat();
  const mistakes = given.flatMap(mistakesOf);
  if (mistakes.length > 0)
    throw new WaybillError('invalid', `plugin ${folder} is not well made: ${mistakes.join('; ')}`);
  return given as ConnectorDefinition[];
}

/**
 * `waybill` in a plugin is this very program: a copy of its own would have another WaybillError, of which nobody here knows
 * the kind.
 */
function resolveWaybillFor(folder: string): void {
  const within = `${pathToFileURL(folder).href}/`;
  registerHooks({
    resolve(specifier, context, next) {
      if (specifier !== 'waybill' || context.parentURL?.startsWith(within) !== true) return next(specifier, context);
      return { url: contractUrl(), shortCircuit: true };
    },
  });
}

/** Run from the clone it is TypeScript, in the npm package JavaScript: as this file is. */
function contractUrl(): string {
  const extension = path.extname(fileURLToPath(import.meta.url));
  return new URL(`../../connectors/plugin${extension}`, import.meta.url).href;
}

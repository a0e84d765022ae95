import path from 'node:path';
import type { Command } from 'commander';
import { type CommandContext, type CommonOptions, outputOf } from '../context.ts';
import { table } from '../output.ts';

/** `waybill plugins list` and `hash`: connectors that the operator has installed, and what pins them. */
export function addPluginCommands(program: Command, context: CommandContext): void {
  const plugins = program
    .command('plugins')
    .description('connectors that you have installed, listed in the file that WAYBILL_PLUGINS names');

  plugins
    .command('list')
    .description('check, load and list them, as the services do when they start; needs no server')
    .option('--json', 'one JSON object on stdout')
    .action(async (options: CommonOptions) => {
      const output = outputOf(context, options);
      const { loadPlugins } = await import('../plugins/load.ts');
      const file = context.command.pluginsFile;
      const loaded = file === null ? [] : await loadPlugins(file);
      const items = loaded.map(({ name, version, folder, sha256, definitions }) => ({
        name,
        version,
        path: folder,
        sha256,
        connectors: definitions.map(({ kind }) => kind),
      }));
      if (output.json) return output.object({ items, next: null });
      if (items.length === 0)
        return output.note(file === null ? 'WAYBILL_PLUGINS names no file' : `${file} lists no plugin`);
      const rows = items.map((item) => [item.name, item.version ?? '', item.connectors.join(', '), item.path]);
      for (const line of table(['PLUGIN', 'VERSION', 'CONNECTORS', 'FOLDER'], rows)) output.line(line.trimEnd());
    });

  plugins
    .command('hash')
    .description('print the SHA-256 over all files of a folder, to pin it by; runs nothing of it')
    .argument('<folder>')
    .option('--json', 'one JSON object on stdout')
    .action(async (folder: string, options: CommonOptions) => {
      const output = outputOf(context, options);
      const { fingerprintFolder } = await import('../plugins/fingerprint.ts');
      const sha256 = await fingerprintFolder(path.resolve(folder));
      if (output.json) output.object({ path: path.resolve(folder), sha256 });
      else output.line(sha256);
    });
}

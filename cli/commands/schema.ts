import type { Command } from 'commander';
import type { CommandContext } from '../context.ts';

/** `waybill schema > pipeline.schema.json`: what editors complete and check with. */
export function addSchemaCommand(program: Command, context: CommandContext): void {
  program
    .command('schema')
    .description('print the JSON Schema for editors, with the installed connectors and actions; needs no server')
    .option('--json', 'the schema is JSON anyway')
    .action(async () => {
      const { printSchemaFile } = await import('../../language/schemaFile.ts');
      const { openRegistry } = await import('../plugins/load.ts');
      const { definitions } = await openRegistry(context.command.pluginsFile);
      context.streams.stdout.write(printSchemaFile(definitions));
    });
}

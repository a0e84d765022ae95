import { type Command, Option } from 'commander';
import { type CommandContext, outputOf } from '../context.ts';
import { exitCodes } from '../exit.ts';

/** `waybill validate PATH...`: no server needed. */
export function addValidateCommand(program: Command, context: CommandContext): void {
  program
    .command('validate')
    .description('check files or folders of YAML; needs no server')
    .argument('<path...>')
    .addOption(new Option('--format <format>', 'how to show mistakes').choices(['text', 'json']).default('text'))
    .option('--json', 'the same as --format json')
    .action(async (paths: string[], options: { format: 'text' | 'json'; json?: boolean }) => {
      const output = outputOf(context, { json: options.json === true || options.format === 'json' });
      const { formatText, readDraft } = await import('../configuration/publish.ts');
      const { checked, files } = await readDraft(paths);
      for (const { file, reason } of checked.ignored) output.note(`ignored ${file}: ${reason}`);
      if (output.json) output.object({ ok: checked.ok, diagnostics: checked.diagnostics });
      else if (checked.diagnostics.length > 0)
        output.line(formatText({ ...checked, ignored: [] }, files, { color: output.colors.isColorSupported }));
      if (!output.json && checked.ok) output.line(`${counted(checked.documents.length, 'document')}: no mistakes`);
      context.setExitCode(checked.ok ? exitCodes.done : exitCodes.usage);
    });
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

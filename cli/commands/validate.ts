import { type Command, Option } from 'commander';
import { type CommandContext, outputOf } from '../context.ts';
import { exitCodes } from '../exit.ts';
import type { Output } from '../output.ts';
import { packageVersion } from '../version.ts';

const formats = ['text', 'json', 'sarif', 'github'] as const;
type Format = (typeof formats)[number];

/** `waybill validate PATH...`: no server needed. */
export function addValidateCommand(program: Command, context: CommandContext): void {
  program
    .command('validate')
    .description('check files or folders of YAML; needs no server')
    .argument('<path...>')
    .addOption(new Option('--format <format>', 'how to show mistakes').choices(formats).default('text'))
    .option('--json', 'the same as --format json')
    .action(async (paths: string[], options: { format: Format; json?: boolean }) => {
      const format = options.json === true ? 'json' : options.format;
      const output = outputOf(context, { json: format === 'json' });
      const { readDraft } = await import('../configuration/publish.ts');
      const draft = await readDraft(paths, context.command.pluginsFile);
      for (const { file, reason } of draft.checked.ignored) output.note(`ignored ${file}: ${reason}`);
      await show(output, format, draft);
      context.setExitCode(draft.checked.ok ? exitCodes.done : exitCodes.usage);
    });
}

type Draft = Awaited<ReturnType<typeof import('../configuration/publish.ts')['readDraft']>>;

async function show(output: Output, format: Format, { checked, files }: Draft): Promise<void> {
  const { ok, diagnostics, documents } = checked;
  const { formatJson, formatText } = await import('../../language/diagnostics.ts');
  if (format === 'json') return output.line(formatJson(checked));
  if (format === 'sarif') {
    const { formatSarif } = await import('../../language/sarif.ts');
    return output.line(formatSarif(diagnostics, packageVersion()));
  }
  if (format === 'github') {
    const { formatGithub } = await import('../../language/githubAnnotations.ts');
    if (diagnostics.length > 0) output.line(formatGithub(diagnostics));
    return;
  }
  if (diagnostics.length > 0)
    output.line(formatText({ diagnostics, ignored: [] }, files, { color: output.colors.isColorSupported }));
  if (ok) output.line(`${counted(documents.length, 'document')}: no mistakes`);
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

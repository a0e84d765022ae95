import type { Command } from 'commander';
import { WaybillError } from '../../schema/errors.ts';
import { confirm } from '../ask.ts';
import type { Change } from '../configuration/publish.ts';
import { type CommandContext, type CommonOptions, clientOf, outputOf } from '../context.ts';
import { formatDiagnostics } from '../diagnostics.ts';
import { exitCodes } from '../exit.ts';
import { type Output, table } from '../output.ts';

interface ApplyOptions extends CommonOptions {
  yes?: boolean;
  prune?: boolean;
}

/** `waybill apply PATH...`: publishes files or folders, all or nothing. */
export function addApplyCommand(program: Command, context: CommandContext): void {
  program
    .command('apply')
    .description('publish files or folders of YAML, all or nothing')
    .argument('<path...>')
    .option('--yes', 'do not ask')
    .option('--prune', 'remove what is published and not in the files')
    .option('--state <folder>', 'state folder of a running `waybill dev`')
    .option('--json', 'one JSON object on stdout')
    .action(async (paths: string[], options: ApplyOptions) => {
      const output = outputOf(context, options);
      const { formatText, publish, readDraft } = await import('../configuration/publish.ts');
      const draft = await readDraft(paths, context.command.pluginsFile);
      const { checked, files } = draft;
      for (const { file, reason } of checked.ignored) output.note(`ignored ${file}: ${reason}`);
      if (!checked.ok) {
        if (output.json) output.object({ ok: false, diagnostics: checked.diagnostics });
        output.note(formatText({ ...checked, ignored: [] }, files, { color: false }));
        return context.setExitCode(exitCodes.usage);
      }
      if (checked.documents.length === 0)
        throw new WaybillError('invalid', 'none of the files holds a pipeline, an endpoint or a webhook');

      const client = clientOf(context, options);
      const prune = options.prune === true;
      if (output.interactive && options.yes !== true) {
        const planned = await publish(client, draft, context.environment, { prune, dryRun: true });
        if (planned.changes.every(({ change }) => change === 'unchanged')) return show(output, planned.changes);
        show(output, planned.changes);
        if (!(await confirm(context, output, 'Publish?'))) {
          output.note('nothing was published');
          return context.setExitCode(exitCodes.failed);
        }
      }
      const { changes, diagnostics } = await publish(client, draft, context.environment, { prune, dryRun: false });
      if (diagnostics.length > 0) output.note(formatDiagnostics(diagnostics));
      if (output.json) output.object({ changes });
      else show(output, changes);
    });
}

function show(output: Output, changes: readonly Change[]): void {
  const signs = { created: '+', changed: '~', unchanged: ' ', removed: '-' } as const;
  const rows = changes.map(({ kind, name, change, version }) => [signs[change], kind, name, change, version ?? '']);
  for (const line of table(['', 'KIND', 'NAME', 'CHANGE', 'VERSION'], rows)) output.line(line.trimEnd());
}

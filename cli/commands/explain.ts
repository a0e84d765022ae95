import type { Command } from 'commander';
import { WaybillError } from '../../schema/errors.ts';
import type { Topic } from '../configuration/topics.ts';
import { type CommandContext, type CommonOptions, outputOf } from '../context.ts';
import { type Output, table } from '../output.ts';

/** `waybill explain CODE|ACTION|KEY`: the reference, a word at a time, without a server. */
export function addExplainCommand(program: Command, context: CommandContext): void {
  program
    .command('explain')
    .description('tell what a code, a kind of failure, an action, a key, a function or a connector means')
    .argument('<word>', 'UNKNOWN_KEY, not-found, transfer.copy, retry.notOn, addDays, sftp ...')
    .option('--json', 'one JSON object on stdout')
    .action(async (word: string, options: CommonOptions) => {
      const output = outputOf(context, options);
      const { findTopics, suggestTopics } = await import('../configuration/topics.ts');
      const { openRegistry } = await import('../plugins/load.ts');
      const { definitions } = await openRegistry(context.command.pluginsFile);
      const topics = findTopics(word, definitions);
      if (topics.length === 0) {
        const near = suggestTopics(word, definitions);
        const hint =
          near.length > 0
            ? `; did you mean ${near.join(' or ')}?`
            : '; docs/reference.md and docs/errors.md list them all';
        throw new WaybillError('invalid', `there is nothing to explain under "${word.slice(0, 100)}"${hint}`);
      }
      if (output.json) output.object({ word, topics });
      else for (const [index, topic] of topics.entries()) show(output, topic, index > 0);
    });
}

function show(output: Output, topic: Topic, follows: boolean): void {
  if (follows) output.line('');
  output.line(`${output.colors.bold(topic.name)} - ${topic.kind}`);
  if (topic.summary !== '') output.line(topic.summary);
  for (const [label, value] of topic.facts) output.line(`  ${label}: ${value}`);
  for (const { title, fields } of topic.tables) {
    output.line('');
    output.line(`  ${output.colors.bold(title)}`);
    const rows = fields.map(({ name, type, required, default: fallback, description }) => {
      const need = required ? 'required' : fallback === null ? '' : `default ${fallback}`;
      return [name, type, need, description];
    });
    for (const line of table(['', '', '', ''], rows).slice(1)) output.line(`  ${line.trimEnd()}`);
  }
  if (topic.example !== null) output.line(`\n${topic.example.replace(/^(?=.)/gm, '    ')}`);
  output.line(`  see ${topic.docs}`);
}

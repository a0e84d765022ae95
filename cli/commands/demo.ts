import type { Command } from 'commander';
import { asWaybillError } from '../../schema/errors.ts';
import { formatBytes } from '../../schema/quantities.ts';
import { type CommandContext, outputOf } from '../context.ts';
import type { RunningDemo } from '../demo/demo.ts';
import { exitCodeOf, exitCodes } from '../exit.ts';
import { type Output, printable, table } from '../output.ts';
import { followSignals } from '../supervisor/signals.ts';

/** `waybill demo`: real files from an SFTP partner to a landing folder, everything started for it. */
export function addDemoCommand(program: Command, context: CommandContext): void {
  program
    .command('demo')
    .description('start everything and move real files from an SFTP partner to a landing folder')
    .option('--json', 'one JSON object as the last line of stdout, then exit')
    .action(async (options: { json?: boolean }) => {
      process.title = 'waybill demo';
      const output = outputOf(context, options);
      const stays = context.streams.stdout.isTTY === true && options.json !== true;
      const signals = followSignals();
      const { runDemo } = await import('../demo/demo.ts');
      let demo: RunningDemo;
      try {
        demo = await runDemo({
          output,
          command: context.command,
          environment: context.environment,
          signal: signals.stop,
        });
      } catch (error) {
        const { kind, message } = asWaybillError(error);
        output.note(`waybill: ${message}`);
        if (!stays) output.object({ ok: false, error: { kind, message } });
        return context.setExitCode(exitCodeOf(kind));
      }
      if (!output.json) describe(output, demo, stays);
      if (stays) {
        await signals.untilStop();
        output.note('stopping');
        signals.onSecond(() => demo.dev.kill());
      }
      await demo.stop();
      if (!stays) output.object(demo.report);
      context.setExitCode(demo.report.ok ? exitCodes.done : exitCodes.failed);
    });
}

const maxNameColumns = 48;

function describe(output: Output, demo: RunningDemo, stays: boolean): void {
  const { bold, green, red } = output.colors;
  const { report, dev, webhook, landingFolder, partner } = demo;
  const rows = report.deliveries.map(({ source, bytes, sha256, state }) => [
    elided(printable(source), maxNameColumns),
    String(bytes),
    sha256 ?? '-',
    state,
  ]);
  for (const line of table(['FILE', 'BYTES', 'SHA-256', 'STATE'], rows)) output.line(line);
  output.line('');
  const color = report.ok ? green : red;
  output.line(
    bold(
      color(
        `${report.run.status}: ${report.files} files, ${formatBytes(report.bytes)}, in ${report.seconds} s from nothing`,
      ),
    ),
  );
  const signature = report.webhook.verified
    ? green('signature verified')
    : red('not received, or its signature is wrong');
  output.line(
    `  Webhook      ${webhook === null ? '-' : `${printable(webhook.type)} ${printable(webhook.id)}`}, ${signature}`,
  );
  output.line(`  Files        ${landingFolder}/acme`);
  output.line(`  Partner      sftp://${partner.host}:${partner.port}${partner.root} (${partner.implementation})`);
  output.line(`  GraphiQL     ${report.urls.graphql}`);
  output.line(`  Temporal UI  ${report.urls.temporalUi ?? '-'}`);
  if (!stays) return;
  output.line(`  API key      ${dev.state.readApiKey()}`);
  output.line('');
  output.line(bold('Next, in another terminal:'));
  const state = `--state ${dev.state.path}`;
  output.line(`  bin/waybill run acme-orders-inbound --wait ${state}     # nothing to do: each file is delivered once`);
  output.line(`  bin/waybill deliveries ${state}`);
  output.line(`  bin/waybill find '/out/*.csv' ${state}`);
  output.line('Ctrl-C stops everything and removes it.');
}

/** A long name with its middle left out. */
function elided(text: string, columns: number): string {
  if (text.length <= columns) return text;
  const kept = Math.floor((columns - 1) / 2);
  return `${text.slice(0, kept)}…${text.slice(-kept)}`;
}

import type { Command } from 'commander';
import { type CommandContext, type CommonOptions, outputOf } from '../context.ts';
import type { Finding } from '../doctor.ts';
import { exitCodes } from '../exit.ts';
import type { Output } from '../output.ts';

/** `waybill doctor`: whether this machine can run Waybill, and what to do where it cannot. */
export function addDoctorCommand(program: Command, context: CommandContext): void {
  program
    .command('doctor')
    .description('check this machine: Node, ports, disk, Temporal, PostgreSQL, clock')
    .option('--state <folder>', 'state folder to look at', '.waybill')
    .option('--json', 'one JSON object on stdout')
    .action(async (options: CommonOptions & { state: string }) => {
      const output = outputOf(context, options);
      const { examine } = await import('../doctor.ts');
      const findings = await examine(context.command, options.state);
      const ok = findings.every((finding) => finding.ok || finding.advisory);
      if (output.json)
        output.object({
          ok,
          checks: findings.map(({ advisory, ...finding }) => ({ ...finding, required: !advisory })),
        });
      else for (const finding of findings) show(output, finding);
      context.setExitCode(ok ? exitCodes.done : exitCodes.failed);
    });
}

function show(output: Output, { name, ok, advisory, detail, advice }: Finding): void {
  const { green, red, yellow } = output.colors;
  const sign = ok ? green('ok  ') : advisory ? yellow('note') : red('FAIL');
  output.line(`${sign}  ${name.padEnd(12)}${detail}`);
  if (!ok && advice !== null) output.line(`      ${' '.repeat(12)}${advice}`);
}

import { readFile } from 'node:fs/promises';
import { text as readAll } from 'node:stream/consumers';
import type { Command } from 'commander';
import type { Formatted } from '../../language/fmt.ts';
import type { Diagnostic } from '../../schema/diagnostics.ts';
import { type CommandContext, outputOf } from '../context.ts';
import { exitCodes } from '../exit.ts';
import type { Output } from '../output.ts';

interface FmtOptions {
  check?: boolean;
  json?: boolean;
}

/** `waybill fmt [PATH...]`: the canonical layout, comments kept. `-` reads stdin and writes stdout. */
export function addFmtCommand(program: Command, context: CommandContext): void {
  program
    .command('fmt')
    .description('lay out files or folders of YAML, comments kept; needs no server')
    .argument('[path...]', 'files or folders; - is stdin', ['.'])
    .option('--check', 'write nothing; end with 1 when a file is not laid out')
    .option('--json', 'one JSON object on stdout')
    .action(async (paths: string[], options: FmtOptions) => {
      const output = outputOf(context, options);
      const code = paths.includes('-')
        ? await formatStdin(context, output, options)
        : await formatFiles(paths, output, options);
      context.setExitCode(code);
    });
}

interface Findings {
  /** Laid out now; with --check: not laid out yet. */
  changed: string[];
  leftAlone: { file: string; reason: string }[];
  diagnostics: Diagnostic[];
}

async function formatFiles(paths: readonly string[], output: Output, { check }: FmtOptions): Promise<number> {
  const { collectFiles } = await import('../configuration/collect.ts');
  const { replaceFile } = await import('../configuration/replaceFile.ts');
  const { formatFile } = await import('../../language/fmt.ts');
  const findings: Findings = { changed: [], leftAlone: [], diagnostics: [] };
  for (const { file, text } of await collectFiles(paths)) {
    const formatted = (await isText(file, text)) ? formatFile(file, text) : notText;
    if (formatted.state === 'left alone') findings.leftAlone.push({ file, reason: formatted.reason });
    if (formatted.state === 'broken') findings.diagnostics.push(...formatted.diagnostics);
    if (formatted.state !== 'formatted' || formatted.text === text) continue;
    if (check !== true) await replaceFile(file, formatted.text);
    findings.changed.push(file);
  }
  const code = exitCodeOf(findings, check === true);
  await show(output, findings, code, check === true);
  return code;
}

const notText: Formatted = { state: 'left alone', reason: 'it is not UTF-8' };

/** Bytes that are no text would be written back as other bytes. */
async function isText(file: string, text: string): Promise<boolean> {
  return !text.includes('\ufffd') || Buffer.from(text).equals(await readFile(file));
}

function exitCodeOf({ changed, diagnostics }: Findings, check: boolean): number {
  if (diagnostics.some(({ severity }) => severity === 'error')) return exitCodes.usage;
  return check && changed.length > 0 ? exitCodes.failed : exitCodes.done;
}

async function show(output: Output, findings: Findings, code: number, check: boolean): Promise<void> {
  const { changed, leftAlone, diagnostics } = findings;
  if (output.json) return output.object({ ok: code === exitCodes.done, ...findings });
  for (const file of changed) output.line(file);
  for (const { file, reason } of leftAlone) output.note(`left alone ${file}: ${reason}`);
  await noteMistakes(output, diagnostics);
  if (check && changed.length > 0) output.note(`not laid out: ${changed.length}; \`waybill fmt\` does it`);
}

async function noteMistakes(output: Output, diagnostics: readonly Diagnostic[]): Promise<void> {
  if (diagnostics.length === 0) return;
  const { formatDiagnostics } = await import('../diagnostics.ts');
  output.note(formatDiagnostics(diagnostics));
}

async function formatStdin(context: CommandContext, output: Output, { check, json }: FmtOptions): Promise<number> {
  const { formatFile } = await import('../../language/fmt.ts');
  const text = await readAll(context.streams.stdin);
  const formatted = formatFile('-', text);
  const diagnostics = formatted.state === 'broken' ? [...formatted.diagnostics] : [];
  const changed = formatted.state === 'formatted' && formatted.text !== text ? ['-'] : [];
  const leftAlone = formatted.state === 'left alone' ? [{ file: '-', reason: formatted.reason }] : [];
  const code = exitCodeOf({ changed, leftAlone, diagnostics }, check === true);
  if (json === true || check === true) await show(output, { changed, leftAlone, diagnostics }, code, check === true);
  else {
    // What cannot be laid out goes on as it came: an editor that pipes its buffer through must not lose it.
    context.streams.stdout.write(formatted.state === 'formatted' ? formatted.text : text);
    await noteMistakes(output, diagnostics);
  }
  return code;
}

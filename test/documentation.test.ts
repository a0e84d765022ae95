import { existsSync, globSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import type { Command } from 'commander';
import { buildSchema, parse, validate } from 'graphql';
import { describe, expect, test } from 'vitest';
import { parse as parseYaml } from 'yaml';
import { apiErrorCodes, docsUrl } from '../api/errorCatalogue.ts';
import { findTopics } from '../cli/configuration/topics.ts';
import { exitCodes } from '../cli/exit.ts';
import { buildProgram } from '../cli/program.ts';
import { readCommandEnvironment } from '../cli/settings.ts';
import { createRegistry } from '../connectors/registry.ts';
import { allowedFunctions } from '../language/celFunctions.ts';
import { type CheckResult, check } from '../language/check.ts';
import { type DiagnosticCode, diagnosticCodes, docsUrlOf } from '../language/codes.ts';
import { fieldReference, keyReference } from '../language/reference.ts';
import { actions } from '../schema/actions.ts';
import { errorKinds } from '../schema/errors.ts';
import { eventTypes, reservedEventFamilies } from '../schema/events.ts';
import { deliveryStates, runStatuses } from '../schema/plan.ts';
import { printErrorReference } from '../tools/errorReference.ts';
import { printReference } from '../tools/reference.ts';
import {
  type Block,
  codeSpans,
  type Page,
  readPage,
  readPages,
  repositoryRoot,
  section,
  tableRows,
} from './documents.ts';
import { mayImport } from './importTable.ts';

const pages = readPages();
const readme = readPage('README.md');
const pipelines = readPage('docs/pipelines.md');
const errors = readPage('docs/errors.md');
const blocks = (language: string): Block[] =>
  pages.flatMap((page) => page.blocks).filter((block) => block.language === language);
const place = ({ file, line, info }: Block) => `${file}:${line} ${info}`;
const inRepository = (path: string) => join(repositoryRoot, path);
const text = (path: string) => readFileSync(inRepository(path), 'utf8');

describe('the pages', () => {
  test('hold blocks whose kind is known, so that each is tried by some test', () => {
    // `yml`: YAML with a connector of a plugin, which test/plugins checks and runs.
    const kinds = [
      'yaml',
      'yaml steps',
      'yaml bad',
      'yaml file=',
      'yml file=',
      'sh',
      'js',
      // The ways in, which api/identityExamples.integration.test.ts runs, and the pages' own commands.
      'bash file=',
      'ts file=',
      'py file=',
      'graphql',
      'text',
      'usage',
      '',
    ];
    const found = pages.flatMap((page) => page.blocks);
    const unknown = found.filter(
      ({ language, info }) => !kinds.includes(`${language} ${info}`.trim().replace(/=.*$/, '=')),
    );
    expect(unknown.map(place)).toEqual([]);
    expect(found.length).toBeGreaterThan(20);
  });

  test('are short enough to be read', () => {
    const long = pages.filter(
      ({ file, prose }) =>
        !['docs/errors.md', 'docs/reference.md'].includes(file) &&
        prose.split('\n').length > (file.startsWith('docs/') ? 200 : 300),
    );
    expect(long.map(({ file }) => file)).toEqual([]);
  });
});

describe('YAML in the pages', () => {
  test.each(blocks('yaml').map((block) => [place(block), block] as const))('%s', (_, block) => {
    const result = checkBlock(block);
    const found = result.diagnostics.map(
      ({ line, severity, message }) => `${block.line + line - 1} ${severity} ${message}`,
    );
    if (block.info === 'bad') return expect([result.ok, found.length > 0]).toEqual([false, true]);
    expect(found).toEqual([]);
    expect(result.ignored).toEqual([]);
    expect(result.documents.length).toBeGreaterThan(0);
  });

  test('the first one is the pipeline of the demo', () => {
    const [shown] = readme.blocks;
    const demo = parseYaml(text('pipelines/acme-orders-inbound.yaml'));
    expect(parseYaml(shown!.text).steps).toEqual(demo.steps);
  });
});

describe('GraphQL in the pages', () => {
  const schema = buildSchema(text('schema/api.graphql'));
  test.each(blocks('graphql').map((block) => [place(block), block] as const))('%s', (_, block) => {
    expect(validate(schema, parse(block.text)).map(({ message }) => message)).toEqual([]);
  });
});

describe('links', () => {
  test.each(pages.map((page) => [page.file, page] as const))('of %s lead somewhere', (_, page) => {
    expect(linksOf(page).filter((link) => !resolves(page, link))).toEqual([]);
  });

  test('to files that are only named lead somewhere too', () => {
    const named = pages.flatMap((page) =>
      codeSpans(page.prose)
        .filter((span) => /^[\w.-]+\/[\w./-]+\.(ts|mjs|md|json|yaml|graphql|prisma)$/.test(span))
        .filter((span) => !existsSync(inRepository(span)))
        .map((span) => `${page.file}: ${span}`),
    );
    expect(named).toEqual([]);
  });
});

describe('the maps of folders', () => {
  const folders = readdirSync(repositoryRoot, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !/^(\.|node_modules$|dist$)/.test(entry.name))
    .map(({ name }) => `${name}/`)
    .sort();

  test('README names every folder, and no other', () => {
    const named = tableRows(readme, 'folder', 'what is in it').flatMap(([cell]) => codeSpans(cell!));
    expect(named.sort()).toEqual(folders);
  });

  test('ARCHITECTURE names every folder but bin, and no other', () => {
    const [map] = readPage('ARCHITECTURE.md').blocks;
    const named = [...map!.text.matchAll(/(?:^|\s)([a-z]+\/)(?=\s|$)/gm)].map((match) => match[1]!);
    expect(named.sort()).toEqual(folders.filter((folder) => folder !== 'bin/'));
  });

  test('ARCHITECTURE has the import table that the architecture test keeps', () => {
    const shown: Record<string, string[]> = {};
    for (const [folders, targets] of tableRows(readPage('ARCHITECTURE.md'), 'folder', 'may import'))
      for (const folder of codeSpans(folders!))
        shown[folder] = codeSpans(targets!)
          .flatMap((span) => span.split(' '))
          .sort();
    const { cli, test: tests, ...others } = shown;
    expect([cli, tests]).toEqual([[], []]);
    const kept = Object.entries(mayImport).map(([folder, targets]) => [
      folder,
      targets.map((target) => target.replace(/\.ts$/, '')).sort(),
    ]);
    expect(others).toEqual(Object.fromEntries(kept));
  });
});

describe('the command line in docs/commands.md', () => {
  const [usage] = blocks('usage');
  const shown = usage!.text.trim().split('\n').map(parseUsage);
  const program = leaves(buildProgram(noContext()), '');

  test('names every verb, and no other', () => {
    expect(shown.map(({ verb }) => verb).sort()).toEqual(program.map(({ verb }) => verb).sort());
  });

  test.each(shown.map((line) => [line.verb, line] as const))('%s has its options and arguments', (verb, line) => {
    expect(line).toEqual(program.find((command) => command.verb === verb));
  });

  test('has the exit codes of the code', () => {
    const rows = tableRows(readme, 'exit code', 'meaning');
    expect(rows.map(([code]) => Number(code))).toEqual(Object.values(exitCodes));
  });

  test('bin/waybill can be run and leads to the command line', () => {
    expect(statSync(inRepository('bin/waybill')).mode & 0o111).toBe(0o111);
    expect(text('bin/waybill')).toContain('cli/main.ts');
  });
});

describe('the environment', () => {
  const pattern = /\b(?:WAYBILL|DATABASE|TEMPORAL)_[A-Z_]+\b|\bNO_COLOR\b/g;
  const inCode = new Set(text('cli/settings.ts').match(pattern));
  /** The seed of the tests is read by them alone. */
  const inTests = new Set(text('test/random.ts').match(pattern));
  /** Read by Temporal's UI and command line, which docs/secrets.md sets up. */
  const ofTemporal = ['TEMPORAL_CODEC_ENDPOINT', 'TEMPORAL_CODEC_AUTH', 'TEMPORAL_CODEC_PASS_ACCESS_TOKEN'];

  test('every setting is in the README, and no other', () => {
    const shown = tableRows(readme, 'variable', 'read by').flatMap(([cell]) => codeSpans(cell!));
    expect(shown.sort()).toEqual([...inCode].sort());
  });

  test('no page names a variable that nothing reads', () => {
    const unknown = pages.flatMap(({ file }) =>
      (text(file).match(pattern) ?? [])
        .filter((name) => !inCode.has(name) && !inTests.has(name) && !ofTemporal.includes(name))
        .map((name) => `${file}: ${name}`),
    );
    expect(unknown).toEqual([]);
  });
});

describe('the language in docs/pipelines.md', () => {
  test('has a heading for every action, and no other', () => {
    const headings = [...pipelines.prose.matchAll(/^### (.+)$/gm)].flatMap((match) => codeSpans(match[1]!));
    expect(headings.sort()).toEqual(actions.map(({ use }) => use).sort());
  });

  test('shows every action in an example', () => {
    const examples = pipelines.blocks.map((block) => block.text).join('\n');
    expect(actions.filter(({ use }) => !examples.includes(`use: ${use}`))).toEqual([]);
  });

  test('names what every action gives', () => {
    const copy = actions.find(({ use }) => use === 'transfer.copy@1')!;
    const missing = Object.keys(copy.output.properties).filter(
      (name) => !section(pipelines, '`transfer.copy@1`').includes(`${name}\``),
    );
    expect(missing).toEqual([]);
  });

  test('names every function, and no other', () => {
    const named = tableRows(pipelines, 'functions', 'for').flatMap(([cell]) => codeSpans(cell!));
    expect(named.sort()).toEqual([...allowedFunctions].sort());
  });

  test('names every status of a run and of a delivery, and no other', () => {
    const named = (header: string) =>
      tableRows(pipelines, header, 'meaning')
        .flatMap(([cell]) => codeSpans(cell!))
        .sort();
    expect(named('run')).toEqual([...runStatuses].sort());
    expect(named('delivery')).toEqual([...deliveryStates].sort());
  });

  test('events that docs/operating.md names are events of the code', () => {
    const named = codeSpans(readPage('docs/operating.md').prose).filter((span) =>
      reservedEventFamilies.some((family) => new RegExp(`^${family}\\.[a-z-]+$`).test(span)),
    );
    expect(named.length).toBeGreaterThan(0);
    expect(named.filter((name) => !(eventTypes as readonly string[]).includes(name))).toEqual([]);
  });
});

describe('docs/reference.md', () => {
  const reference = readPage('docs/reference.md');

  test('is fresh', () => expect(text('docs/reference.md')).toBe(printReference()));

  test('tells of every key, action, function and connector what it is', () => {
    const named = codeSpans(reference.prose);
    const keys = keyReference().map(({ name }) => name);
    const inputs = actions.flatMap((action) => fieldReference(action.input)).map(({ name }) => name);
    expect([...keys, ...inputs, ...allowedFunctions].filter((name) => !named.includes(name))).toEqual([]);
    const headings = [...reference.prose.matchAll(/^### (.+)$/gm)].map((match) => match[1]!);
    const { definitions } = createRegistry();
    for (const name of [...actions.map(({ use }) => use), ...definitions.map(({ kind }) => kind)])
      expect(headings).toContain(name);
  });

  test('has a place for whatever `waybill explain` knows', () => {
    const words = [
      ...[...keyReference(), ...actions.flatMap((action) => fieldReference(action.input))].map(({ name }) => name),
      ...[...actions.map(({ use }) => use), ...createRegistry().definitions.map(({ kind }) => kind)],
      ...[
        ...allowedFunctions,
        ...Object.keys(diagnosticCodes),
        ...Object.keys(errorKinds),
        ...Object.keys(apiErrorCodes),
      ],
    ];
    const topics = words.map((word) => [word, findTopics(word).map(({ docs }) => docs)] as const);
    expect(topics.filter(([, docs]) => docs.length === 0)).toEqual([]);
    const places = new Set(topics.flatMap(([, docs]) => docs));
    expect([...places].filter((place) => !resolves(readme, place))).toEqual([]);
  });

  test('leaves no key and no input without words', () => {
    const inputs = actions.flatMap((action) =>
      fieldReference(action.input).map((field) => ({ ...field, of: action.use })),
    );
    const silent = [...keyReference(), ...inputs].filter(({ description }) => description.length < 5);
    expect(silent.map(({ name }) => name)).toEqual([]);
  });
});

describe('docs/errors.md', () => {
  test('is fresh', () => expect(text('docs/errors.md')).toBe(printErrorReference()));

  test('has a place for every docsUrl and every kind, and each place once', () => {
    const urls = [
      ...Object.keys(diagnosticCodes).map((code) => docsUrlOf(code as DiagnosticCode)),
      ...Object.keys(apiErrorCodes).map(docsUrl),
      ...Object.keys(errorKinds).map((kind) => `docs/errors.md#${kind}`),
    ];
    const places = new Set(errors.anchors.map((anchor) => `docs/errors.md#${anchor}`));
    expect(urls.filter((url) => !places.has(url))).toEqual([]);
    expect(errors.anchors.filter((anchor) => /-\d+$/.test(anchor))).toEqual([]);
  });

  test('has every code that the API gives, and no code that nothing gives', () => {
    // These come from the GraphQL server; documentation.integration.test.ts provokes them.
    const fromServer = ['GRAPHQL_PARSE_FAILED', 'GRAPHQL_VALIDATION_FAILED'];
    const files = globSync(['api/**/*.ts', 'identity/**/*.ts'], { cwd: repositoryRoot });
    const source = files
      .filter((file) => !file.endsWith('.test.ts') && file !== 'api/errorCatalogue.ts')
      .map(text)
      .join('\n');
    const given = source
      .split('\n')
      .filter((line) => /\bcode: /.test(line))
      .flatMap((line) => [...line.matchAll(/'([A-Z][A-Z_]+)'/g)].map((match) => match[1]!));
    const known = Object.keys(apiErrorCodes);
    expect(given.filter((code) => !known.includes(code))).toEqual([]);
    expect(known.filter((code) => !source.includes(`'${code}'`))).toEqual(fromServer);
  });
});

function checkBlock(block: Block): CheckResult {
  const { definitions } = createRegistry();
  const indented = block.text.replace(/^(?=.)/gm, '  ');
  const wrapped = `pipeline: from-the-docs\napiVersion: waybill/v1\nendpoints: { partner: acme-sftp, landing: landing-zone }\nsteps:\n${indented}`;
  const result = check([{ file: block.file, text: block.info === 'steps' ? wrapped : block.text }], {
    connectors: definitions,
  });
  // Not every example uses both of the aliases that it is given.
  const diagnostics = result.diagnostics.filter(({ code }) => block.info !== 'steps' || code !== 'UNUSED_ALIAS');
  return { ...result, diagnostics };
}

function linksOf(page: Page): string[] {
  const withoutCode = page.prose.replace(/`[^`\n]*`/g, '');
  return [...withoutCode.matchAll(/\]\(([^)\s]+)\)/g)]
    .map((match) => match[1]!)
    .filter((link) => !/^https?:/.test(link));
}

function resolves(page: Page, link: string): boolean {
  const [path = '', anchor] = link.split('#');
  const target = path === '' ? page.file : normalize(join(dirname(page.file), path));
  if (!existsSync(inRepository(target))) return false;
  return anchor === undefined || readPage(target).anchors.includes(anchor);
}

interface Usage {
  verb: string;
  options: string[];
  arguments: number;
}

/** `waybill runs [--pipeline NAME] PATH...` */
function parseUsage(line: string): Usage {
  const [, rest = ''] = /^waybill (.+)$/.exec(line) ?? [];
  const bare = rest.replace(/\[[^\]]*\](\.\.\.)?/g, '').replace(/--\S+ \S+/g, '');
  const words = bare.trim().split(/\s+/);
  return {
    verb: words.filter((word) => /^[a-z]/.test(word)).join(' '),
    options: [...rest.matchAll(/--[a-z][a-z0-9-]*/g)].map((match) => match[0]).sort(),
    arguments: words.filter((word) => /^[A-Z]/.test(word)).length,
  };
}

function leaves(command: Command, prefix: string): Usage[] {
  return command.commands.flatMap((child) => {
    const verb = `${prefix} ${child.name()}`.trim();
    if (child.commands.length > 0) return leaves(child, verb);
    const options = child.options.map(({ long }) => long!).sort();
    return [{ verb, options, arguments: child.registeredArguments.length }];
  });
}

function noContext(): Parameters<typeof buildProgram>[0] {
  const { stdout, stderr, stdin } = process;
  return {
    streams: { stdout, stderr, stdin },
    environment: {},
    command: readCommandEnvironment({}),
    setExitCode: () => undefined,
  };
}

import { isAlias, isMap, isPair, isScalar, isSeq, LineCounter, type Node, type Scalar } from 'yaml';
import type { Json } from '../schema/plan.ts';
import { createReport, type Report, type SourceRange } from './report.ts';
import { sourceLimits } from './sourceLimits.ts';
import { sourceOffsets } from './sourceOffsets.ts';
import { parseRepaired, reportSyntax } from './syntax.ts';

/** A value of a file together with where it stands. Look keys up in `entries`; in `value` every object has `constructor`. */
export interface Located {
  value: Json;
  range: SourceRange;
  entries?: Entries;
  items?: Located[];
  /** For a text: the offset in the file of the n-th character of the value (n may be its length). */
  offsetAt?: (index: number) => number;
}

type Entries = Map<string, { key: SourceRange; value: Located }>;

export interface SourceDocument {
  root: Located;
  /** The text of this document alone. */
  text: string;
  range: SourceRange;
  /** Whether its YAML was read without error. */
  sound: boolean;
  /** Whether all of it was read; what has too many values is not looked at further. */
  complete: boolean;
}

export interface ParsedSource {
  documents: SourceDocument[];
  report: Report;
}

/** Reads YAML 1.2 (core schema) with positions. Reports mistakes instead of throwing. */
export function parseSource(file: string, text: string): ParsedSource {
  const lines = new LineCounter();
  const report = createReport(file, lines);
  const documents: SourceDocument[] = [];
  // Positions are wanted for every file, also for one that is refused before it is parsed.
  lines.lineStarts = lineStarts(text);
  if (text.length > sourceLimits.characters) {
    report.add('FILE_TOO_LARGE', [0, 1], 'the file is larger than 1 MiB');
    return { documents, report };
  }
  const { read, masked } = parseRepaired(text, report, maxRepairs(text));
  if (read === null) return { documents, report };
  for (const document of read) {
    const isEmpty = document.contents === null && document.errors.length === 0;
    if (isEmpty) continue;
    reportSyntax(report, document.errors, masked);
    const [start, , end] = document.range;
    const reader = new Reader(masked, report, document.errors.length === 0);
    const root = reader.read(document.contents, 0);
    const sound = document.errors.length === 0 && masked === text;
    documents.push({ root, text: text.slice(start, end), range: [start, end], sound, complete: !reader.exhausted });
  }
  return { documents, report };
}

/** Each repair reads the file again: a large one is repaired less often. */
function maxRepairs(text: string): number {
  return Math.min(20, Math.floor(sourceLimits.characters / Math.max(1, text.length)));
}

function lineStarts(text: string): number[] {
  // Editors do not count a byte order mark.
  const starts = [text.startsWith('\ufeff') ? 1 : 0];
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) starts.push(at + 1);
  return starts;
}

/** Turns nodes into values, with limits of its own: aliases are followed, so that a small file could become a large value. */
class Reader {
  private readonly sound: boolean;
  private readonly text: string;
  private readonly report: Report;
  private readonly anchors = new Map<string, Located>();
  private values = 0;
  exhausted = false;

  constructor(text: string, report: Report, sound: boolean) {
    this.sound = sound;
    this.text = text;
    this.report = report;
  }

  read(node: Node | null | undefined, depth: number, fallback: SourceRange = [0, 0]): Located {
    const range = rangeOf(node, fallback);
    if (++this.values > sourceLimits.values || depth > sourceLimits.depth) {
      if (!this.exhausted)
        this.report.add(
          depth > sourceLimits.depth ? 'TOO_DEEP' : 'FILE_TOO_LARGE',
          range,
          depth > sourceLimits.depth
            ? `values are nested more than ${sourceLimits.depth} deep`
            : 'the file has too many values',
        );
      this.exhausted = true;
      return { value: null, range };
    }
    if (isAlias(node)) return this.alias(node.source, range);
    const located = this.readPlain(node, depth, range);
    if (node && 'anchor' in node && node.anchor) this.anchors.set(node.anchor, located);
    return located;
  }

  private readPlain(node: Node | null | undefined, depth: number, range: SourceRange): Located {
    if (node?.tag && !node.tag.startsWith('tag:yaml.org,2002:'))
      this.report.add('UNSUPPORTED_YAML', range, `the tag ${node.tag.slice(0, 60)} is not part of the language`);
    if (isMap(node)) return this.mapping(node.items, depth, range);
    if (isSeq(node)) {
      const items = node.items.map((item) => this.read(isPair(item) ? null : (item as Node), depth + 1, range));
      return { value: items.map((item) => item.value), range, items };
    }
    return isScalar(node) ? this.scalar(node, range) : { value: null, range };
  }

  private scalar(node: Scalar, range: SourceRange): Located {
    const { value } = node;
    if (typeof value === 'bigint') return { value: Number(value), range };
    if (typeof value === 'string') return { value, range, offsetAt: sourceOffsets(this.text, node, range) };
    if (typeof value === 'number' && !Number.isFinite(value)) {
      this.report.add('INVALID_VALUE', range, 'infinite and undefined numbers are not part of the language');
      return { value: null, range };
    }
    if (typeof value === 'number' && /^[-+]?0[0-9]+$/.test(node.source ?? ''))
      this.report.add(
        'LEADING_ZERO',
        range,
        `${node.source} is the number ${value}: YAML 1.2 reads it as a decimal one, and drops the zeros`,
        `write ${value}, or put it in quotes when the zeros belong to it`,
      );
    return { value: value === null || typeof value === 'number' || typeof value === 'boolean' ? value : null, range };
  }

  private mapping(items: ReadonlyArray<{ key: unknown; value: unknown }>, depth: number, range: SourceRange): Located {
    const entries: Entries = new Map();
    const value: Record<string, Json> = {};
    for (const pair of items) {
      const key = rangeOf(pair.key as Node | null, range);
      if (
        !isScalar(pair.key) ||
        (typeof pair.key.value !== 'string' &&
          typeof pair.key.value !== 'number' &&
          typeof pair.key.value !== 'boolean')
      ) {
        // Where the YAML cannot be read, a key that is missing has been told already.
        if (this.sound || !isAbsent(pair.key)) this.report.add('UNSUPPORTED_YAML', key, 'a key must be a plain text');
        continue;
      }
      const name = String(pair.key.value);
      if (name === '__proto__') {
        this.report.add('UNSUPPORTED_YAML', key, 'the key __proto__ is not allowed');
        continue;
      }
      const read = this.read(pair.value as Node | null, depth + 1, [key[1], key[1]]);
      if (name === '<<') {
        this.mergeKey(key, read, entries, value);
        continue;
      }
      if (entries.has(name)) {
        this.report.add('DUPLICATE_KEY', key, `the key "${name.slice(0, 100)}" stands twice`);
        continue;
      }
      entries.set(name, { key, value: read });
      value[name] = read.value;
    }
    return { value, range, entries };
  }

  /** It is a mistake; what was meant is filled in, so that nothing is reported as missing. */
  private mergeKey(key: SourceRange, merged: Located, entries: Entries, value: Record<string, Json>): void {
    this.report.add(
      'UNSUPPORTED_YAML',
      key,
      'YAML 1.2 has no merge key `<<`',
      'write the keys out, or give the alias to each key',
    );
    for (const [name, entry] of merged.entries ?? []) {
      if (entries.has(name)) continue;
      entries.set(name, entry);
      value[name] = entry.value.value;
    }
  }

  private alias(name: string, range: SourceRange): Located {
    const target = this.anchors.get(name);
    if (!target) {
      this.report.add('UNKNOWN_ALIAS', range, `there is no anchor &${name.slice(0, 60)} before this alias`);
      this.report.hide(range);
      return { value: null, range };
    }
    this.values += countValues(target, sourceLimits.values);
    if (this.values > sourceLimits.values && !this.exhausted) {
      this.exhausted = true;
      this.report.add('TOO_MANY_ALIASES', range, `aliases expand to more than ${sourceLimits.values} values`);
    }
    return this.exhausted ? { value: null, range } : target;
  }
}

function isAbsent(key: unknown): boolean {
  return key === null || (isScalar(key) && key.value === null);
}

function countValues(located: Located, limit: number): number {
  let count = 0;
  const pending: Located[] = [located];
  while (pending.length > 0 && count <= limit) {
    const next = pending.pop()!;
    count++;
    if (next.items) pending.push(...next.items);
    if (next.entries) for (const entry of next.entries.values()) pending.push(entry.value);
  }
  return count;
}

function rangeOf(node: Node | null | undefined, fallback: SourceRange): SourceRange {
  const range = node?.range;
  return range ? [range[0], range[1]] : fallback;
}

import { WaybillError } from '../schema/errors.ts';

/**
 * The glob dialect: `*` and `?` stay within one path segment, `**` as a whole segment spans any number of them, `[a-z]`
 * and `[!a-z]`, `{a,b}`, `\` takes the next character as it is; case-sensitive; a wildcard never matches a leading dot;
 * no negation. It is picomatch's dialect (`dot: false, noextglob: true, nonegate: true`) on an automaton of our own: partners
 * choose file names, and a regular expression can be made to take minutes by one of them. Here a match takes at most
 * (length of the glob) x (length of the text) steps.
 */
export interface Glob {
  matches(text: string): boolean;
}

export const maxGlobCharacters = 4096;
/** Places in the automaton: bounds memory and time of a match. */
const maxGlobStates = 10_000;

/** Throws `invalid` for a glob that is empty, too long or not well-formed. */
export function compileGlob(pattern: string): Glob {
  if (pattern === '') throw invalidGlob(pattern, 'is empty');
  if (pattern.length > maxGlobCharacters) throw invalidGlob(pattern, `has more than ${maxGlobCharacters} characters`);
  const automaton = new GlobParser(pattern).parse();
  return { matches: (text) => run(automaton, text) };
}

/** Whether a text holds an unescaped sign that makes it a glob. */
export function hasGlobSigns(text: string): boolean {
  return /(^|[^\\])(\\\\)*[*?[{]/.test(text);
}

/** What a state does with the next character; `split` states are followed without reading one. */
type Test =
  | { kind: 'literal'; character: string }
  | { kind: 'wildcard' }
  | { kind: 'class'; negated: boolean; ranges: Array<[string, string]> };
type State =
  | { kind: 'test'; test: Test; next: number }
  | { kind: 'split'; next: number[] }
  /** Passed without reading, but not before a leading dot. */
  | { kind: 'guard'; next: number }
  | { kind: 'accept' };

class GlobParser {
  private at = 0;
  private readonly states: State[] = [];
  private readonly pattern: string;

  constructor(pattern: string) {
    this.pattern = pattern;
  }

  parse(): { states: State[]; start: number } {
    const start = this.split();
    const end = this.sequence(start, 0);
    this.states[end] = { kind: 'accept' };
    return { states: this.states, start };
  }

  /** Reads up to the end, or to `,` or `}` of the brace it is in. Gives the split state where it ends. */
  private sequence(from: number, braceDepth: number): number {
    let current = from;
    while (this.at < this.pattern.length) {
      const character = this.pattern[this.at]!;
      if (braceDepth > 0 && (character === ',' || character === '}')) return current;
      if (character === '*') current = this.stars(current);
      else if (character === '?') current = this.question(current);
      else if (character === '[') current = this.test(current, this.characterClass());
      else if (character === '{') current = this.braces(current, braceDepth);
      else {
        if (character === '\\' && this.at + 1 < this.pattern.length) this.at++;
        current = this.test(current, { kind: 'literal', character: this.pattern[this.at++]! });
      }
    }
    if (braceDepth > 0) throw invalidGlob(this.pattern, 'has a { without its }');
    return current;
  }

  private stars(from: number): number {
    const start = this.at;
    while (this.pattern[this.at] === '*') this.at++;
    const opensSegment = start === 0 || '/,{'.includes(this.pattern[start - 1]!);
    const after = this.pattern[this.at];
    const closesSegment = after === undefined || '/,}'.includes(after);
    if (this.at - start === 2 && opensSegment && closesSegment) return this.anySegments(from);
    const loop = this.split();
    const first = opensSegment && closesSegment ? this.newTest({ kind: 'wildcard' }, loop) : loop;
    this.link(from, this.push({ kind: 'guard', next: first }));
    const end = this.split();
    this.link(loop, this.newTest({ kind: 'wildcard' }, loop));
    this.link(loop, end);
    return end;
  }

  /** Double star as a segment: `(segment /)*` before a slash, at least one segment at the end. */
  private anySegments(from: number): number {
    const segment = this.split();
    const inside = this.split();
    this.link(segment, this.newTest({ kind: 'wildcard' }, inside));
    this.link(inside, this.newTest({ kind: 'wildcard' }, inside));
    this.link(inside, this.newTest({ kind: 'literal', character: '/' }, segment));
    this.link(from, segment);
    const end = this.split();
    if (this.pattern[this.at] === '/') {
      this.at++;
      this.link(segment, end);
    } else this.link(inside, end);
    return end;
  }

  private braces(from: number, braceDepth: number): number {
    if (braceDepth >= 8) throw invalidGlob(this.pattern, 'nests braces too deeply');
    this.at++;
    const end = this.split();
    while (true) {
      const branch = this.split();
      this.link(from, branch);
      const start = this.at;
      this.link(this.sequence(branch, braceDepth + 1), end);
      if (/^[^,]*\.\.[^,]*$/.test(this.pattern.slice(start, this.at)))
        throw invalidGlob(this.pattern, 'has a range in braces; list the alternatives, or use [0-9]');
      if (this.pattern[this.at++] === '}') return end;
    }
  }

  private characterClass(): Test {
    let at = this.at + 1;
    const negated = this.pattern[at] === '!' || this.pattern[at] === '^';
    if (negated) at++;
    const ranges: Array<[string, string]> = [];
    const first = at;
    while (this.pattern[at] !== ']' || at === first) {
      if (this.pattern[at] === '\\') at++;
      const low = this.pattern[at];
      if (low === undefined) throw invalidGlob(this.pattern, 'has a [ without its ]');
      if (this.pattern[at + 1] === '-' && this.pattern[at + 2] !== undefined && this.pattern[at + 2] !== ']') {
        ranges.push([low, this.pattern[at + 2]!]);
        at += 3;
      } else {
        ranges.push([low, low]);
        at++;
      }
    }
    this.at = at + 1;
    return { kind: 'class', negated, ranges };
  }

  private question(from: number): number {
    this.at++;
    return this.test(from, { kind: 'wildcard' });
  }

  private test(from: number, test: Test): number {
    const end = this.split();
    this.link(from, this.newTest(test, end));
    return end;
  }

  private newTest(test: Test, next: number): number {
    return this.push({ kind: 'test', test, next });
  }

  private split(): number {
    return this.push({ kind: 'split', next: [] });
  }

  private push(state: State): number {
    if (this.states.length >= maxGlobStates) throw invalidGlob(this.pattern, 'is too complex');
    return this.states.push(state) - 1;
  }

  private link(from: number, to: number): void {
    (this.states[from] as { next: number[] }).next.push(to);
  }
}

function run(automaton: { states: State[]; start: number }, text: string): boolean {
  const { states, start } = automaton;
  const mark = new Int32Array(states.length).fill(-1);
  let active: number[] = [];
  const enter = (state: number, step: number, into: number[]) => {
    const pending = [state];
    while (pending.length > 0) {
      const index = pending.pop()!;
      if (mark[index] === step) continue;
      mark[index] = step;
      const current = states[index]!;
      if (current.kind === 'split') pending.push(...current.next);
      else if (current.kind === 'guard') {
        if (text[step] !== '.' || !opensSegment(text, step)) pending.push(current.next);
      } else into.push(index);
    }
  };
  enter(start, 0, active);
  for (let at = 0; at < text.length; at++) {
    const character = text[at]!;
    const first = opensSegment(text, at);
    const following: number[] = [];
    for (const index of active) {
      const state = states[index]!;
      if (state.kind === 'test' && accepts(state.test, character, first)) enter(state.next, at + 1, following);
    }
    if (following.length === 0) return false;
    active = following;
  }
  return active.some((index) => states[index]!.kind === 'accept');
}

function opensSegment(text: string, at: number): boolean {
  return at === 0 || text[at - 1] === '/';
}

function accepts(test: Test, character: string, first: boolean): boolean {
  if (test.kind === 'literal') return test.character === character;
  if (character === '/' || (first && character === '.')) return false;
  return (
    test.kind === 'wildcard' ||
    test.ranges.some(([low, high]) => low <= character && character <= high) !== test.negated
  );
}

function invalidGlob(pattern: string, why: string): WaybillError {
  return new WaybillError('invalid', `glob ${JSON.stringify(pattern.slice(0, 300))} ${why}`, { field: 'glob' });
}

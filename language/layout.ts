import {
  Composer,
  type Document,
  isCollection,
  isMap,
  isScalar,
  isSeq,
  type Node,
  type Pair,
  Parser,
  type Scalar,
  type ScalarTag,
  type Tags,
  visit,
  type YAMLMap,
} from 'yaml';
import { placeComments } from './commentPlaces.ts';
import { documentOrder, innerOrder, stepOrder } from './keyOrder.ts';

/** The longest line that a mapping or list in braces may make; a longer one is unfolded. */
const maxFlowColumns = 120;
/** What one pass unfolds can still be too long inside; deeper nesting than this is refused before. */
const maxPasses = 70;

/**
 * The canonical layout of YAML without mistakes: indentation, quotes, keys in the order of the reference, long mappings in
 * braces unfolded. Comments stay with what they stand at, and single blank lines stay. With `reorder` off keys stay too.
 */
export function layOut(text: string, options: { reorder: boolean }): string {
  let current = print(parse(text).map((document) => canonical(document, options.reorder)));
  for (let pass = 0; pass < maxPasses; pass++) {
    const documents = parse(current);
    if (!documents.map((document) => unfoldLong(document, current)).includes(true)) break;
    current = print(documents);
  }
  return current;
}

function parse(text: string): Document[] {
  const tokens = [...new Parser().parse(text)];
  for (const token of tokens) placeComments(token);
  const composer = new Composer({
    version: '1.2',
    schema: 'core',
    uniqueKeys: false,
    logLevel: 'silent',
    prettyErrors: false,
    customTags,
  });
  return [...composer.compose(tokens)];
}

function print(documents: readonly Document[]): string {
  return documents
    .map((document) => document.toString({ indent: 2, indentSeq: true, lineWidth: 0, minContentWidth: 0 }))
    .join('');
}

/** How the pieces are written: `{ a: 1 }`, `[a, b]`, and only texts that the file folds itself are folded. */
function customTags(tags: Tags): Tags {
  return tags.map((tag) => {
    if (typeof tag === 'string') return tag;
    if (tag.tag === 'tag:yaml.org,2002:map' || tag.tag === 'tag:yaml.org,2002:seq') {
      const flowCollectionPadding = tag.tag.endsWith('map') ? ' ' : '';
      return {
        ...tag,
        stringify: (item: unknown, context: object, onComment?: () => void, onChompKeep?: () => void) =>
          (item as YAMLMap).toString({ ...context, flowCollectionPadding } as never, onComment, onChompKeep),
      } as typeof tag;
    }
    if (tag.tag !== 'tag:yaml.org,2002:str') return tag;
    const { stringify } = tag as ScalarTag;
    return {
      ...tag,
      stringify: (item, context, onComment, onChompKeep) => {
        const lineWidth = item.type === 'BLOCK_FOLDED' ? maxFlowColumns : 0;
        return stringify!(item, { ...context, options: { ...context.options, lineWidth } }, onComment, onChompKeep);
      },
    } as ScalarTag;
  });
}

function canonical(document: Document, reorder: boolean): Document {
  trimComments(document);
  visit(document, {
    Node(_, node, path) {
      const commented = node as Node;
      trimComments(commented);
      if (isScalar(node)) quote(node);
      // Braces with a comment inside cannot stay on one line.
      if (commented.comment || commented.commentBefore)
        for (const owner of path) if (isCollection(owner) && owner.flow) owner.flow = false;
    },
  });
  if (reorder && isMap(document.contents)) reorderDocument(document, document.contents as YAMLMap);
  return document;
}

function trimComments(owner: { comment?: string | null; commentBefore?: string | null }): void {
  if (owner.comment) owner.comment = owner.comment.replace(/[ \t]+$/gm, '');
  if (owner.commentBefore) owner.commentBefore = owner.commentBefore.replace(/[ \t]+$/gm, '');
}

/** Words that older YAML reads as something else keep their quotes: editors and other tools may be old. */
const otherMeaning = /^(y|yes|n|no|on|off|true|false|null|nan|inf|infinity)$/i;

/** Double quotes, and none around plain words. */
function quote(scalar: Scalar): void {
  const { value } = scalar;
  if ((scalar.type !== 'QUOTE_DOUBLE' && scalar.type !== 'QUOTE_SINGLE') || typeof value !== 'string') return;
  if (/^[A-Za-z/][\w./@-]*( [\w./@-]+)*$/.test(value) && !otherMeaning.test(value)) scalar.type = 'PLAIN';
  else if (/^[^"\\\p{C}]*$/u.test(value)) scalar.type = 'QUOTE_DOUBLE';
}

function reorderDocument(document: Document, root: YAMLMap): void {
  const kind = root.items.map(keyOf).find((key) => Object.hasOwn(documentOrder, key));
  const [first] = root.items;
  reorderKeys(root, documentOrder[kind ?? 'pipeline'] ?? []);
  if (first !== root.items[0]) keepHead(document, first?.key as Node);
  for (const key of ['steps', 'onError', 'finally']) reorderSteps(root.get(key));
}

function reorderSteps(list: unknown): void {
  if (isSeq(list)) for (const step of list.items) if (isMap(step)) reorderStep(step as YAMLMap);
}

const listsOfSteps = ['steps', 'else', 'onError', 'compensate', 'parallel'];

function reorderStep(step: YAMLMap): void {
  reorderKeys(step, stepOrder);
  const use = step.get('use');
  for (const pair of step.items) {
    const order = innerOrder(keyOf(pair), use);
    if (order && isMap(pair.value)) reorderKeys(pair.value as YAMLMap, order);
    if (isMap(pair.value) && keyOf(pair) === 'wait') reorderSteps((pair.value as YAMLMap).get('steps'));
    else if (listsOfSteps.includes(keyOf(pair))) reorderSteps(pair.value);
  }
}

/** Keys that are not in the order follow those that are, as they stood. */
function reorderKeys(map: YAMLMap, order: readonly string[]): void {
  const rank = (pair: Pair) => {
    const index = order.indexOf(keyOf(pair));
    return index < 0 ? order.length : index;
  };
  map.items = map.items.toSorted((left, right) => rank(left) - rank(right));
}

/** What stands at the head of the file stays there when the key below it moves: a line for the editor, or words set apart by a blank line. */
function keepHead(document: Document, key: Node): void {
  const lines = key.commentBefore?.split('\n') ?? [];
  const blank = lines.lastIndexOf('');
  const headLines = blank >= 0 ? blank + 1 : lines[0]?.includes('yaml-language-server:') ? 1 : 0;
  if (headLines === 0) return;
  const head = lines.slice(0, headLines).join('\n').trimEnd();
  document.commentBefore = [document.commentBefore, head].filter(Boolean).join('\n\n');
  key.commentBefore = lines.slice(headLines).join('\n');
}

function keyOf(pair: Pair | undefined): string {
  const key = pair?.key;
  return isScalar(key) ? String(key.value) : '';
}

/** Unfolds the outermost mappings and lists in braces that reach too far to the right. Gives whether there were any. */
function unfoldLong(document: Document, text: string): boolean {
  let found = false;
  visit(document, {
    Collection(_, node) {
      if (!node.flow) return undefined;
      const end = node.range?.[1] ?? 0;
      const lineStart = text.lastIndexOf('\n', end - 1) + 1;
      if (end - lineStart <= maxFlowColumns || node.items.length === 0) return undefined;
      node.flow = false;
      found = true;
      return visit.SKIP;
    },
  });
  return found;
}

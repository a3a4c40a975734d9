/**
 * ClusterShell's groups: flat files (`groups.d/local.cfg`, a group and its nodes a line) and YAML (`groups.d/*.yaml`,
 * sources with groups). The first source's groups keep their names, those of another are named `source:group`.
 */
import { entriesOf, mistake, textOf, type Place, type Tree } from '../text/tree.js';
import { NodeSet } from '../sets/node-set.js';
import type { Draft } from './draft.js';

/** A group of ClusterShell: its source, and its nodes as an expression. */
interface SourceGroup {
  readonly source: string;
  readonly name: string;
  readonly nodes: string;
  readonly at: Place;
}

const FLAT_LINE = /^([\w.:@+-]+):(?:\s+(.*))?$/;

/** Whether each line is a group and its nodes. */
export function isFlat(text: string): boolean {
  const lines = text.split(/\r?\n/).filter((line) => line.trim() && !/^\s*#/.test(line));
  return lines.length > 0 && lines.every((line) => FLAT_LINE.test(line) && !/:\s*[[{|>&"']/.test(line));
}

/** Whether a parsed text is a map of sources, each a map of groups. */
export function isClusterShellTree(tree: Tree): boolean {
  return (
    tree.kind === 'map' &&
    tree.entries.length > 0 &&
    tree.entries.every(
      ({ value }) => value.kind === 'map' && value.entries.every((group) => group.value.kind !== 'map'),
    )
  );
}

/**
 * Adds the groups of a flat file and their nodes.
 * @throws UsageError with file and line.
 */
export function readFlat(text: string, file: string, draft: Draft): void {
  const groups: SourceGroup[] = [];
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    const at = { file, line: index + 1 };
    if (!line.trim() || /^\s*#/.test(line)) continue;
    const [, name, nodes = ''] = FLAT_LINE.exec(line.trim()) ?? [];
    if (name === undefined) throw mistake(at, `${JSON.stringify(line.slice(0, 80))} is not "GROUP: NODES"`);
    groups.push({ source: '', name, nodes: nodes.replace(/\s#.*/, ''), at });
  }
  addGroups(groups, '', draft);
}

/**
 * Adds the groups of a YAML file and their nodes.
 * @throws UsageError with file and line.
 */
export function readClusterShellTree(tree: Tree, file: string, draft: Draft): void {
  const sources = entriesOf(tree, 'the whole', file);
  const groups = sources.flatMap(({ key: source, value }) =>
    entriesOf(value, `the source "${source}"`, file).map(({ key: name, value: nodes, line }): SourceGroup => {
      const what = `the group "${name}"`;
      const words = nodes.kind === 'list' ? nodes.items : [nodes];
      return { source, name, nodes: words.map((each) => textOf(each, what, file)).join(','), at: { file, line } };
    }),
  );
  addGroups(groups, sources[0]?.key ?? '', draft);
}

function addGroups(groups: readonly SourceGroup[], first: string, draft: Draft): void {
  const nameOf = (source: string, name: string) => (source === first ? name : `${source}:${name}`);
  const known = new Set(groups.map(({ source, name }) => nameOf(source, name)));
  const wholes = new Set<string>();
  for (const { source, name, nodes, at } of groups) {
    // Without a source, a group is one of the same source. "*" is the source's group "all", or all its groups.
    const expression = nodes.replace(
      /@(?:([^\s,!&^[\]:@]+):)?([^\s,!&^[\]]*)/g,
      (_, given: string | undefined, group: string) => {
        if (group !== '*') return `@${nameOf(given ?? source, group)}`;
        wholes.add(given ?? source);
        return `@${nameOf(given ?? source, 'all')}`;
      },
    );
    const own = nodesIn(expression, at);
    draft.checkRoom(own.length, at);
    const isWhole = own.map((node) => draft.host(node, at)).every(Boolean);
    if (!isWhole) draft.leaveOut(`the group @${nameOf(source, name)}, which holds a name that cannot come along`);
    else draft.group(nameOf(source, name), ...(expression.trim() ? [expression.trim()] : []));
  }
  for (const source of wholes) {
    if (known.has(nameOf(source, 'all'))) continue;
    const all = groups.filter((group) => group.source === source);
    draft.group(nameOf(source, 'all'), ...all.map(({ name }) => `@${nameOf(source, name)}`));
  }
}

/** The names in an expression, without those of its groups. */
function nodesIn(expression: string, at: Place): string[] {
  try {
    return [...new NodeSet(expression, { lookUp: (word) => (/^@|[=*?]/.test(word) ? [] : undefined) })];
  } catch (error) {
    throw mistake(at, (error as Error).message, error);
  }
}

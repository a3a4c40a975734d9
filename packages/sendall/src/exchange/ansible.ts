/**
 * Ansible inventories in YAML or JSON (also what a dynamic inventory prints for `--list`). Of the variables only
 * `ansible_host` is read: others may hold secrets.
 */
import { entriesOf, kindOf, mistake, textOf, type Place, type Tree } from '../text/tree.js';
import { expandRanges, withoutPort } from './ansible-names.js';
import type { Draft } from './draft.js';

/** Groups that Ansible makes itself; `all` is a word of ours, too. */
export const OWN_GROUPS: ReadonlySet<string> = new Set(['all', 'ungrouped']);
const ADDRESS_VARIABLES: ReadonlySet<string> = new Set(['ansible_host', 'ansible_ssh_host']);
const PARTS: ReadonlySet<string> = new Set(['hosts', 'children', 'vars']);

/** Whether a parsed text looks like an Ansible inventory. */
export function isAnsibleTree(tree: Tree): boolean {
  return (
    tree.kind === 'map' &&
    tree.entries.some(({ key, value }) => key === '_meta' || isGroup(value)) &&
    tree.entries.every(({ key, value }) => key === '_meta' || isGroup(value) || isEmpty(value))
  );
}

const isEmpty = (tree: Tree) => tree.kind === 'text' && /^(?:|~|null)$/.test(tree.text);
const isGroup = (tree: Tree) =>
  tree.kind === 'map' && tree.entries.length > 0 && tree.entries.every(({ key }) => PARTS.has(key));

/**
 * Adds an inventory's hosts and groups.
 * @throws UsageError with file and line.
 */
export function readAnsibleTree(tree: Tree, file: string, draft: Draft): void {
  for (const { key, value } of entriesOf(tree, 'the whole', file))
    if (key === '_meta') readHostVariables(value, file, draft);
    else readGroup(key, value, file, draft);
}

function readGroup(name: string, tree: Tree, file: string, draft: Draft): void {
  const add = (...words: readonly string[]) => !OWN_GROUPS.has(name) && draft.group(name, ...words);
  add();
  const parts = tree.kind === 'list' ? [{ key: 'hosts', value: tree, line: tree.line }] : entriesOf(tree, name, file);
  for (const { key, value, line } of parts) {
    if (!PARTS.has(key))
      throw mistake(
        { file, line },
        `the group ${JSON.stringify(name)} has no key "${key}": it has hosts, children, vars`,
      );
    if (key === 'vars') continue;
    for (const { text, at, inner } of membersOf(value, key, file)) {
      if (key === 'hosts') add(...readHosts(text, at, inner, file, draft));
      else {
        readGroup(text, inner ?? { kind: 'text', text: '' }, file, draft);
        if (draft.groups.has(text)) add(`@${text}`);
      }
    }
  }
}

interface Member {
  readonly text: string;
  readonly at: Place;
  readonly inner?: Tree;
}

/** Keys of a map, items of a list, or a single word. */
function membersOf(tree: Tree, what: string, file: string): Member[] {
  if (tree.kind === 'list')
    return tree.items.map((item) => ({ text: textOf(item, what, file), at: { file, line: item.line } }));
  if (tree.kind === 'text' && !isEmpty(tree)) return [{ text: tree.text, at: { file, line: tree.line } }];
  return entriesOf(tree, what, file).map(({ key, line, value }) => ({ text: key, at: { file, line }, inner: value }));
}

/** Adds the hosts of one key, and returns their names. */
function readHosts(pattern: string, at: Place, variables: Tree | undefined, file: string, draft: Draft): string[] {
  const address = variables && addressIn(variables, file);
  return addAnsibleHosts(pattern, at, address, draft);
}

/** Adds the hosts of a pattern such as `www[01:50].example.com:2222`, and returns the names of those that can come along. */
export function addAnsibleHosts(pattern: string, at: Place, address: string | undefined, draft: Draft): string[] {
  const names = expandRanges(withoutPort(pattern), at, (count) => draft.checkRoom(count, at));
  return names.filter((name) => draft.host(name, at, address));
}

/** The address among a host's variables. */
function addressIn(variables: Tree, file: string): string | undefined {
  if (isEmpty(variables)) return undefined;
  if (variables.kind !== 'map')
    throw mistake({ file, line: variables.line }, `a host's variables are ${kindOf(variables)}, not a map`);
  const found = variables.entries.findLast(({ key }) => isAddressVariable(key));
  return found && textOf(found.value, found.key, file);
}

/** Whether a variable holds a host's address. */
export const isAddressVariable = (name: string): boolean => ADDRESS_VARIABLES.has(name);

/** `_meta: {hostvars: {HOST: {…}}}` of a dynamic inventory. */
function readHostVariables(meta: Tree, file: string, draft: Draft): void {
  for (const { key, value } of entriesOf(meta, '_meta', file)) {
    if (key !== 'hostvars') continue;
    for (const host of entriesOf(value, key, file))
      draft.host(host.key, { file, line: host.line }, addressIn(host.value, file));
  }
}

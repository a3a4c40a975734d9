/** Hosts and groups as one file or program states them, checked; and several of these as one. */
import { NodeSet } from '../../sets/node-set.js';
import { UsageError } from '../../errors.js';
import { parseFingerprint } from '../../keys/fingerprint.js';
import { checkHostName, checkHostUrl } from '../inventory.js';
import { parseTag } from '../known-hosts.js';
import { LIMIT_NAMES } from './limits.js';
import { entriesOf, mistake, placeText, textOf, type Place, type Tree, type TreeEntry } from '../../text/tree.js';

/** What is stated of a host. */
export interface HostEntry {
  readonly url: string;
  readonly pin?: string | undefined;
  readonly tags: Readonly<Record<string, string>>;
  readonly at: Place;
}

/** What is stated of a group: an expression for its hosts. */
export interface GroupEntry {
  readonly expression: string;
  readonly at: Place;
}

/** Hosts and groups by name. */
export interface Listing {
  readonly hosts: ReadonlyMap<string, HostEntry>;
  readonly groups: ReadonlyMap<string, GroupEntry>;
}

export const emptyListing: Listing = { hosts: new Map(), groups: new Map() };

/** Most levels of groups in groups. */
const MAX_GROUP_DEPTH = 100;
const GROUP_NAME = /^[\p{L}\p{N}_][\p{L}\p{N}._:/+-]{0,127}$/u;

/** @throws UsageError when a group cannot have this name. */
export function checkGroupName(name: string): string {
  if (GROUP_NAME.test(name)) return name;
  throw new UsageError(
    `${JSON.stringify(name.slice(0, 80))} cannot name a group: use letters, digits and . _ - : / +, the first a letter, a digit or _`,
  );
}

/**
 * Reads `hosts: {web[001-200]: {url: "tls://{host}.lan:7433", pin: …, tags: {role: web}}}` and
 * `groups: {front: "@web!web7"}`.
 * @throws UsageError with file and line.
 */
export function readListing(tree: Tree | undefined, file: string, maxHosts: number): Listing {
  const hosts = new Map<string, HostEntry>();
  const groups = new Map<string, GroupEntry>();
  const top = tree ? entriesOf(tree, 'the whole', file) : [];
  for (const { key, value } of keysOf(top, ['hosts', 'groups'], 'an inventory', file)) {
    if (key === 'hosts') {
      for (const entry of entriesOf(value, 'hosts', file)) readHosts(entry, hosts, file, maxHosts);
    } else {
      for (const entry of entriesOf(value, 'groups', file)) {
        const at = { file, line: entry.line };
        const name = checked(at, () => checkGroupName(entry.key));
        add(groups, name, { expression: expressionOf(entry, file), at }, `the group "${name}"`);
      }
    }
  }
  return { hosts, groups };
}

/** Entries, each of which must have one of these keys, and no two the same. */
function keysOf(
  entries: readonly TreeEntry[],
  allowed: readonly string[],
  what: string,
  file: string,
): readonly TreeEntry[] {
  const seen = new Map<string, Place>();
  for (const { key, line } of entries) {
    const at = { file, line };
    if (!allowed.includes(key))
      throw mistake(at, `${what} has no key ${JSON.stringify(key.slice(0, 80))}: it has ${allowed.join(', ')}`);
    const first = seen.get(key);
    if (first) throw mistake(at, `${what} has the key "${key}" twice, first in line ${first.line}`);
    seen.set(key, at);
  }
  return entries;
}

/** The hosts of one key, which may be a set of names. */
function readHosts(entry: TreeEntry, hosts: Map<string, HostEntry>, file: string, maxHosts: number): void {
  const { key, line, value } = entry;
  const at: Place = { file, line };
  const names = namesOf(key, at, maxHosts - hosts.size);
  const what = `the host ${JSON.stringify(key.slice(0, 80))}`;
  const parts = keysOf(entriesOf(value, what, file), ['url', 'pin', 'tags'], what, file);
  const part = (name: string) => parts.find((each) => each.key === name);
  const [url, pin] = [part('url'), part('pin')].map((each) => each && textOf(each.value, each.key, file));
  if (!url) throw mistake(at, `${what} has no url: write for example url: "tls://{host}:7433"`);
  if (pin !== undefined) {
    const pinAt = { file, line: part('pin')!.line };
    checked(pinAt, () => parseFingerprint(pin));
    if (names.length > 1) throw mistake(pinAt, `one pin stands for ${names.length} hosts: each machine has its own`);
  }
  const tags = Object.fromEntries(
    entriesOf(part('tags')?.value ?? { kind: 'text', text: '' }, 'tags', file).map((tag) =>
      checked({ file, line: tag.line }, () =>
        parseTag(`${tag.key}=${textOf(tag.value, `the tag "${tag.key}"`, file)}`),
      ),
    ),
  );
  for (const name of names) {
    const address = url.replaceAll('{host}', name);
    checked({ file, line: part('url')!.line }, () => checkHostUrl(address));
    if (pin !== undefined && address.startsWith('unix:'))
      throw mistake(at, `${what} has a pin, but a unix: address has none: remove it`);
    add(hosts, name, { url: address, pin, tags, at }, name);
  }
}

function namesOf(key: string, at: Place, most: number): string[] {
  const set = checked(at, () => new NodeSet(key, { maxSize: Math.max(1, most) }));
  if (set.size > most) throw tooMany(at);
  const names = [...set];
  if (!names.length) throw mistake(at, `${JSON.stringify(key.slice(0, 80))} names no host`);
  for (const name of names) checked(at, () => checkHostName(name));
  return names;
}

/** A group's expression; a list is its union. */
function expressionOf({ key, value }: TreeEntry, file: string): string {
  const what = `the group "${key}"`;
  const words =
    value.kind === 'list' ? value.items.map((item) => textOf(item, what, file)) : [textOf(value, what, file)];
  return words.join(',');
}

/** Runs a check of one value, and says where the value stands. */
function checked<T>(at: Place, check: () => T): T {
  try {
    return check();
  } catch (error) {
    const { message } = error as Error;
    if (message.endsWith('(maxSize)')) throw tooMany(at);
    throw mistake(at, message, error);
  }
}

const tooMany = (at: Place) => mistake(at, `the inventories name too many hosts (${LIMIT_NAMES.maxHosts})`);

function add<T extends { readonly at: Place }>(entries: Map<string, T>, name: string, entry: T, what: string): void {
  const first = entries.get(name);
  if (first) throw mistake(entry.at, `${what} stands in ${otherPlace(first.at, entry.at)} already: remove one of them`);
  entries.set(name, entry);
}

const otherPlace = (first: Place, { file }: Place) =>
  first.file === file && first.line !== undefined ? `line ${first.line}` : placeText(first);

/**
 * All listings as one. No two may name the same host or group.
 * @throws UsageError that names both places, or the place of a group that is wrong or holds itself.
 */
export function joinListings(listings: readonly Listing[], maxHosts: number): Listing {
  const hosts = new Map<string, HostEntry>();
  const groups = new Map<string, GroupEntry>();
  for (const listing of listings) {
    for (const [name, entry] of listing.hosts) {
      add(hosts, name, entry, name);
      if (hosts.size > maxHosts) throw tooMany(entry.at);
    }
    for (const [name, entry] of listing.groups) add(groups, name, entry, `the group "${name}"`);
  }
  checkGroups(groups, maxHosts);
  return { hosts, groups };
}

/** Checks the notation of all groups, and that no group holds itself. */
function checkGroups(groups: ReadonlyMap<string, GroupEntry>, maxHosts: number): void {
  const checkedGroups = new Set<string>();
  const open: string[] = [];
  const check = (name: string): void => {
    const group = groups.get(name);
    if (!group || checkedGroups.has(name)) return;
    const first = open.indexOf(name);
    if (first >= 0) {
      const way = [...open.slice(first), name].map((each) => `@${each}`).join(' in ');
      throw mistake(group.at, `the group @${name} holds itself (${way}): remove it from one of them`);
    }
    if (open.length >= MAX_GROUP_DEPTH)
      throw mistake(group.at, `the group @${name} is nested more than ${MAX_GROUP_DEPTH} levels deep`);
    open.push(name);
    for (const inner of groupsIn(group, maxHosts)) check(inner);
    open.pop();
    checkedGroups.add(name);
  };
  for (const name of groups.keys()) check(name);
}

/** The groups that an expression names. */
function groupsIn({ expression, at }: GroupEntry, maxSize: number): readonly string[] {
  const found: string[] = [];
  const lookUp = (word: string) => {
    if (word.startsWith('@')) found.push(word.slice(1));
    return /^@|[=*?]/.test(word) || word === 'all' ? [] : undefined;
  };
  checked(at, () => new NodeSet(expression, { lookUp, maxSize }));
  return found;
}

/** TARGETS: the hosts that a word or an expression names. */
import { UsageError } from '../errors.js';
import { resolveHome } from '../home.js';
import type { Inventory, InventoryHost } from '../client/inventory.js';
import { KnownHosts } from '../client/known-hosts.js';
import { NodeSet } from '../sets/node-set.js';
import { matches } from './wildcard.js';

/**
 * The hosts of `local`, a name, an address, or a set of them: `web[01-20,33]`, `a,b`, `@tag` (hosts with a tag of this
 * name or value), `k=v`, `web*`, `all` or `@*` (every known host), `!x` for difference, `&` for intersection.
 * @throws UsageError when it is wrong or names no host.
 */
export function resolveTargets(targets: string, inventory?: Inventory): NodeSet {
  const set = new NodeSet(targets, { lookUp: new HostWords(inventory).lookUp });
  if (!set.size) throw new UsageError(`"${targets}" names no host: see "sendall hosts"`);
  return set;
}

/** The words for hosts of an inventory. It is listed once for all words, as there may be as many words as hosts. */
export class HostWords {
  readonly #known: readonly InventoryHost[];
  #byTag: ReadonlyMap<string, ReadonlySet<string>> | undefined;

  constructor(inventory: Inventory = KnownHosts.of(resolveHome())) {
    this.#known = inventory.list();
  }

  /** All `@name` words, in order. */
  groups(): string[] {
    return [...this.#tagged.keys()].filter((word) => /^@./.test(word)).sort();
  }

  /** The names for a word of an expression; undefined: the word is a name itself. */
  readonly lookUp = (word: string): Iterable<string> | undefined => {
    if (word === 'all' || word === '@*') return this.#names;
    if (word.startsWith('@')) {
      const hosts = this.#tagged.get(word);
      if (!hosts) throw new UsageError(`no host has the tag "${word.slice(1)}": see "sendall hosts"`);
      return hosts;
    }
    if (word.includes('=')) return this.#tagged.get(word) ?? [];
    return /[*?]/.test(word) ? this.#names.filter((name) => matches(word, name)) : undefined;
  };

  get #names(): string[] {
    return this.#known.map(({ name }) => name);
  }

  get #tagged(): ReadonlyMap<string, ReadonlySet<string>> {
    return (this.#byTag ??= hostsByTag(this.#known));
  }
}

/** Indexes the hosts under `@key`, `@value` and `key=value`. */
function hostsByTag(hosts: readonly InventoryHost[]): ReadonlyMap<string, ReadonlySet<string>> {
  const byTag = new Map<string, Set<string>>();
  for (const { name, tags = {} } of hosts)
    for (const [key, value] of Object.entries(tags))
      for (const word of [`@${key}`, `@${value}`, `${key}=${value}`]) {
        const names = byTag.get(word);
        if (names) names.add(name);
        else byTag.set(word, new Set([name]));
      }
  return byTag;
}

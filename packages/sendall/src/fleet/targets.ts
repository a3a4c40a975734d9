/** TARGETS: the hosts that a word or an expression names. */
import { UsageError } from '../errors.js';
import { resolveHome } from '../home.js';
import type { Inventory, InventoryHost } from '../client/inventory.js';
import { AllHosts } from '../client/inventories/all-hosts.js';
import { NodeSet } from '../sets/node-set.js';
import { matches } from '../sets/wildcard.js';

/**
 * The hosts of `local`, a name, an address, or a set of them: `web[01-20,33]`, `a,b`, `@name` (a group, or the hosts with
 * a tag of this name or value), `k=v`, `web*`, `all` or `@*` (every known host), `!x` for difference, `&` for intersection.
 * @throws UsageError when it is wrong or names no host.
 */
export function resolveTargets(targets: string, inventory?: Inventory): NodeSet {
  const set = new NodeSet(targets, { lookUp: new HostWords(inventory).lookUp });
  if (!set.size) throw new UsageError(`"${targets}" names no host: see "sendall hosts"`);
  return set;
}

/**
 * The words for hosts of an inventory. It is listed once for all words, as there may be as many words as hosts, and only
 * if a word needs the list.
 */
export class HostWords {
  readonly #inventory: Inventory;
  #listed: readonly InventoryHost[] | undefined;
  #byTag: ReadonlyMap<string, ReadonlySet<string>> | undefined;
  #byGroup: ReadonlyMap<string, string> | undefined;

  constructor(inventory: Inventory = AllHosts.of(resolveHome())) {
    this.#inventory = inventory;
  }

  /** All `@name` words, in order. */
  groups(): string[] {
    const words = [...this.#tagged.keys(), ...[...this.#groups.keys()].map((name) => `@${name}`)];
    return [...new Set(words)].filter((word) => /^@./.test(word)).sort();
  }

  /** The names for a word of an expression, or an expression for them; undefined: the word is a name itself. */
  readonly lookUp = (word: string): Iterable<string> | undefined => {
    if (word === 'all' || word === '@*') return this.#names;
    if (word.startsWith('@')) {
      const hosts = this.#groups.get(word.slice(1)) ?? this.#tagged.get(word);
      if (hosts === undefined)
        throw new UsageError(
          `there is no group "${word.slice(1)}", and no host has a tag of this name: see "sendall hosts"`,
        );
      return hosts;
    }
    if (word.includes('=')) return this.#tagged.get(word) ?? [];
    return /[*?]/.test(word) ? this.#names.filter((name) => matches(word, name)) : undefined;
  };

  get #known(): readonly InventoryHost[] {
    return (this.#listed ??= this.#inventory.list());
  }

  get #names(): string[] {
    return this.#known.map(({ name }) => name);
  }

  get #tagged(): ReadonlyMap<string, ReadonlySet<string>> {
    return (this.#byTag ??= hostsByTag(this.#known));
  }

  get #groups(): ReadonlyMap<string, string> {
    return (this.#byGroup ??= this.#inventory.groups?.() ?? new Map<string, string>());
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

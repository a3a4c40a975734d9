/** TARGETS: the hosts that a word or an expression names. */
import { UsageError } from '../errors.js';
import { resolveHome } from '../home.js';
import type { Inventory, InventoryHost } from '../client/inventory.js';
import { KnownHosts } from '../client/known-hosts.js';
import { NodeSet } from './node-set.js';

/**
 * The hosts of `local`, a name, an address, or a set of them: `web[01-20,33]`, `a,b`, `@tag` (hosts with a tag of this
 * name or value), `k=v`, `all` (every known host), `!x` for difference, `&` for intersection.
 * @throws UsageError when it is wrong or names no host.
 */
export function resolveTargets(targets: string, inventory: Inventory = KnownHosts.of(resolveHome())): NodeSet {
  const known = inventory.list();
  // Built once for all words, as there may be as many words as hosts.
  let byTag: ReadonlyMap<string, ReadonlySet<string>> | undefined;
  const tagged = (word: string) => (byTag ??= hostsByTag(known)).get(word);
  const lookUp = (word: string) => {
    if (word === 'all') return known.map(({ name }) => name);
    if (word.startsWith('@')) {
      const hosts = tagged(word);
      if (!hosts) throw new UsageError(`no host has the tag "${word.slice(1)}": see "sendall hosts"`);
      return hosts;
    }
    return word.includes('=') ? (tagged(word) ?? []) : undefined;
  };
  const set = new NodeSet(targets, { lookUp });
  if (!set.size) throw new UsageError(`"${targets}" names no host: see "sendall hosts"`);
  return set;
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

/** TARGETS: which hosts a word or an expression names. */
import { UsageError } from '../errors.js';
import { resolveHome, type Home } from '../home.js';
import { KnownHosts } from '../client/known-hosts.js';
import { NodeSet } from './node-set.js';

/**
 * The hosts of `local`, a name, an address, or a set of them: `web[01-20,33]`, `a,b`, `@tag` (hosts that have a tag of
 * this name or with this value), `k=v`, `all` (every known host), `!x` to take away, `&` to intersect. Throws UsageError
 * when it is wrong or names nobody.
 */
export function resolveTargets(targets: string, home: Home = resolveHome()): NodeSet {
  const known = new KnownHosts(home).list();
  const tagged = (matches: (key: string, value: string) => boolean) =>
    known
      .filter(({ tags }) => Object.entries(tags).some(([key, value]) => matches(key, value)))
      .map(({ name }) => name);
  const lookUp = (word: string) => {
    if (word === 'all') return known.map(({ name }) => name);
    if (word.startsWith('@')) {
      const tag = word.slice(1);
      const hosts = tagged((key, value) => key === tag || value === tag);
      if (!hosts.length) throw new UsageError(`no host has the tag "${tag}": see "sendall hosts"`);
      return hosts;
    }
    const equals = word.indexOf('=');
    if (equals < 0) return undefined;
    return tagged((key, value) => key === word.slice(0, equals) && value === word.slice(equals + 1));
  };
  const set = new NodeSet(targets, { lookUp });
  if (!set.size) throw new UsageError(`"${targets}" names no host: see "sendall hosts"`);
  return set;
}

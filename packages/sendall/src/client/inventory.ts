/** The interface of a list of hosts with names, addresses, keys and tags, wherever it is stored. */
import { UsageError } from '../errors.js';
import { parseFingerprint } from '../keys/fingerprint.js';
import { checkNetworkUrl } from '../text/address.js';
import { isNatsHost, natsHostOf } from '../text/nats-address.js';
import { check, having, type Rule } from './options/check.js';

/** A host with everything a dial needs, without a lookup. A {@link KnownHost} is one. */
export interface ResolvedHost {
  /** The host's name in results, events and messages. */
  readonly name: string;
  /** tls://HOST:PORT, nats:ID or unix:/path */
  readonly url: string;
  /** Fingerprint of the agent's key. An address on the network needs it, a unix: address has none. */
  readonly pin?: string | undefined;
}

/** A host of an inventory. A tls:// host without a pin is not paired: it has a name, and is never dialled. */
export interface InventoryHost extends ResolvedHost {
  readonly tags?: Readonly<Record<string, string>> | undefined;
}

/** A list of hosts. Each dial queries it, so its methods are synchronous and return the current state. */
export interface Inventory {
  /** All hosts, by name. */
  list(): readonly InventoryHost[];
  /** The host of this name. */
  get(name: string): InventoryHost | undefined;
  /** The host at a tls:// or nats: address, in any spelling. */
  at(url: string): InventoryHost | undefined;
  /**
   * The groups for `@NAME` in targets: an expression for the hosts of each name. A group goes before a tag.
   * @default no groups
   */
  groups?(): ReadonlyMap<string, string>;
}

export const inventoryRule: Rule = having('an object with list(), get() and at()', 'list', 'get', 'at');

const RESERVED = new Set(['local', 'all']);

/**
 * Checks a host's name.
 * @throws UsageError when it is wrong.
 */
export function checkHostName(name: string): string {
  if (typeof name !== 'string') throw new UsageError('a host needs a name');
  if (RESERVED.has(name)) throw new UsageError(`"${name}" is reserved and cannot name a host: choose another`);
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(name))
    throw new UsageError(
      `${JSON.stringify(name.slice(0, 80))} cannot name a host: use 1 to 63 letters, digits, dots, dashes and underscores, the first a letter or digit`,
    );
  return name;
}

/** A rule from a function that throws for wrong values. */
const passing = (allowed: string, parse: (value: string) => unknown): Rule => ({
  allowed,
  fits(value) {
    try {
      if (typeof value === 'string') parse(value);
      return typeof value === 'string';
    } catch {
      return false;
    }
  },
});

const isUnix = (url: string) => url.startsWith('unix:/');

/**
 * Checks the address of a host.
 * @throws UsageError when it is wrong.
 */
export function checkHostUrl(url: string): string {
  if (!isUnix(url)) checkNetworkUrl(url);
  return url;
}

const HOST: Rule = {
  allowed: 'a name, an address, or { name, url, pin }',
  fits: (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
};
const NAME = passing(
  'a host’s name (1 to 63 letters, digits, dots, dashes and underscores; not "local" or "all")',
  checkHostName,
);
const URL = passing('tls://HOST:PORT, nats:ID or unix:/path', checkHostUrl);
const PIN = passing('a fingerprint, "SHA256:" and 43 characters', parseFingerprint);
const NO_PIN: Rule = { allowed: 'undefined: a unix: address has no pin', fits: () => false };

/**
 * Checks a host from outside our lists. `what`: "the host to connect to" and so on.
 * @throws UsageError that names the field.
 */
export function checkResolved(what: string, host: ResolvedHost): void {
  check(what, host ?? null, HOST);
  const { name, url, pin } = host;
  check(`name of ${what}`, name ?? null, NAME);
  check(`url of ${what}`, url ?? null, URL);
  if (isUnix(url)) check(`pin of ${what}`, pin, NO_PIN);
  else check(`pin of ${what}`, pin ?? null, PIN);
}

/** The ways to a host on the network: straight to its address, or through the broker. */
export const VIAS = ['nats', 'direct'] as const;
export type Via = (typeof VIAS)[number];

/**
 * The host by the way that was asked for. The broker knows every host by its key, whatever its address is.
 * @throws UsageError when there is no such way to it.
 */
export function hostVia<T extends ResolvedHost>(host: T, via: Via | undefined): T {
  const { name, url, pin } = host;
  if (via === 'nats' && pin !== undefined) return { ...host, url: natsHostOf(pin) };
  if (via === 'direct' && isNatsHost(url))
    throw new UsageError(`"${name}" has no address but ${url}, which is behind the broker: leave out --via direct`);
  return host;
}

/** Where connections come from: the source of an address, and the network that a source belongs to. */
import { isIPv6 } from 'node:net';

/** Groups of 16 bits in the part of an IPv6 address that one user has, and in the part that one customer has. */
const GROUPS_OF_USER = 4;
const GROUPS_OF_CUSTOMER = 3;

/** What counts as one source: an IPv4 address, the /64 that one user of IPv6 has, or all of a Unix socket. */
export function sourceOf(address: string): string {
  const plain = address.replace(/^::ffff:(?=\d+\.)/i, '').replace(/%.*/, '');
  if (!isIPv6(plain)) return plain;
  const [head = '', tail] = plain.split('::');
  const before = head ? head.split(':') : [];
  const after = tail ? tail.split(':') : [];
  const zeros = Array.from({ length: Math.max(0, 8 - before.length - after.length) }, () => '0');
  const groups = [...before, ...zeros, ...after].slice(0, GROUPS_OF_USER);
  return `${groups.map((group) => Number.parseInt(group, 16).toString(16)).join(':')}::/64`;
}

/**
 * The network of a source: the /48 around a /64, since providers hand out whole /48s (RFC 6177), else the source itself.
 */
export function networkOf(source: string): string {
  if (!source.endsWith('::/64')) return source;
  return `${source.split(':').slice(0, GROUPS_OF_CUSTOMER).join(':')}::/48`;
}

/** Tells words that name one host from words that name a set. */

/** True for `local`, a plain name and an address, which need no set parsing. */
export function isOneTarget(targets: string): boolean {
  if (/^(tls|udp|unix|nats):[^,!&^\s]*$/.test(targets)) return true;
  return targets !== 'all' && /^[\p{L}\p{N}._-]+$/u.test(targets);
}

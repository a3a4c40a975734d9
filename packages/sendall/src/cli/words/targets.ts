/** Which words name one host, and which a set. */

/** True for `local`, a plain name and an address: everything that needs no set to be worked out. */
export function isOneTarget(targets: string): boolean {
  if (/^(tls|udp|unix):[^,!&^\s]*$/.test(targets)) return true;
  return targets !== 'all' && /^[\p{L}\p{N}._-]+$/u.test(targets);
}

/** Both ends of a TCP connection, as SSH_CONNECTION has them: the caller's address and port, the host's address and port. */
import type { Duplex } from 'node:stream';

interface Ends {
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
  readonly localAddress?: string | undefined;
  readonly localPort?: number | undefined;
}

/** As the host sees them; undefined for a stream that is no TCP connection. */
export function connectionOf({ remoteAddress, remotePort, localAddress, localPort }: Ends): string | undefined {
  return joined(remoteAddress, remotePort, localAddress, localPort);
}

/**
 * As the caller sees them. Where caller and host see the same ones, neither another process nor a translation of addresses
 * stands between them: an end of the connection comes from one of the two.
 */
export function callerEndsOf(stream: Duplex): string | undefined {
  const { remoteAddress, remotePort, localAddress, localPort }: Ends = stream as Ends;
  return joined(localAddress, localPort, remoteAddress, remotePort);
}

/** An IPv4 address is written as one, also on a socket for IPv6. */
function joined(...ends: readonly (string | number | undefined)[]): string | undefined {
  if (ends.includes(undefined)) return undefined;
  return ends.map((each) => String(each).replace(/^::ffff:(?=[\d.]+$)/, '')).join(' ');
}

/** Where a link comes from, and who that makes its caller. */
import type { Peer } from '../../link/tls.js';

/** How a link came in. */
export type Origin =
  | { readonly kind: 'local' }
  /** From inside this process, for tests. */
  | { readonly kind: 'memory'; readonly principal: string }
  | {
      readonly kind: 'tls';
      readonly peer: Peer;
      readonly source: string;
      /** Both ends of the link as SSH_CONNECTION has them; undefined through a broker. */
      readonly connection?: string | undefined;
    };

/** Who a caller turned out to be. */
export interface Principal {
  readonly name: string;
  readonly roles: readonly string[];
}

/** Who shares what a link has: the links of one key belong together. */
export function callerOf(origin: Origin): string {
  if (origin.kind === 'tls') return origin.peer.fingerprint;
  return origin.kind === 'memory' ? `memory ${origin.principal}` : 'local';
}

/** Connections that have not shown yet who they are, and which of them goes when the server is full. */
import { isIPv6 } from 'node:net';
import type { PeerAddress } from '../address.js';
import type { CloseReason } from '../reasons.js';
import type { ServerInside } from '../server-inside.js';

/** A source's failures count against it only while it has more than this many: they never shut it out. */
const FAIR_SHARE = 8;
/** Failures that count at most, how long (in milliseconds) they do, and how many sources are remembered for them. */
const MOST_FAILURES = 1_000;
const FORGIVEN_AFTER = 60_000;
const MOST_REMEMBERED = 10_000;

interface Source<T> {
  name: string;
  /** The oldest first. */
  items: Set<T>;
  rank: number;
}

interface Failures {
  count: number;
  last: number;
}

/** What counts as one source: an IPv4 address, the /64 that one user of IPv6 has, or all of a Unix socket. */
export function sourceOf(address: string): string {
  const plain = address.replace(/^::ffff:(?=\d+\.)/i, '').replace(/%.*/, '');
  if (!isIPv6(plain)) return plain;
  const [head = '', tail] = plain.split('::');
  const before = head ? head.split(':') : [];
  const after = tail ? tail.split(':') : [];
  const zeros = Array.from({ length: Math.max(0, 8 - before.length - after.length) }, () => '0');
  return `${[...before, ...zeros, ...after].slice(0, 4).join(':')}::/64`;
}

/** Whether connections begin without being established: a PROXY header, a TLS handshake or the handler's check comes first. */
export function beginsUnestablished({ options, transport }: Pick<ServerInside, 'options' | 'transport'>): boolean {
  if (transport.kind === 'datagram') return false;
  const { proxyProtocol, establishedBy } = options;
  return proxyProtocol !== false || transport.handshake !== undefined || establishedBy === 'handler';
}

/** Whether the end of a connection that is not established counts against its source: unless the server ended it. */
export function isFailure(reason: CloseReason | undefined): boolean {
  return reason !== 'displaced' && reason !== 'drain' && reason !== 'worker';
}

/**
 * Connections that are not established yet, by source, and the one that goes for a newcomer when the server is full: the
 * oldest of the source that has most. So a flood displaces itself, and a client has as long as the flood needs to go
 * through all places, even when it shares its address with the flood.
 *
 * A connection that ended without being established still counts for a while, so a source of failures has a
 * smaller share.
 */
export class Unestablished<T> {
  readonly #sources = new Map<string, Source<T>>();
  readonly #of = new Map<T, Source<T>>();
  readonly #failures = new Map<string, Failures>();
  /** Sources by rank; the highest rank that may have any. */
  readonly #ranks: (Set<Source<T>> | undefined)[] = [];
  #top = 0;

  get size(): number {
    return this.#of.size;
  }

  add(item: T, peer: PeerAddress): void {
    const name = 'host' in peer ? sourceOf(peer.host) : '';
    let source = this.#sources.get(name);
    if (source === undefined) {
      source = { name, items: new Set(), rank: 0 };
      this.#sources.set(name, source);
    }
    source.items.add(item);
    this.#of.set(item, source);
    this.#rank(source);
  }

  /** It is established, or gone; `failed`: gone without having been. False: it was not here. */
  delete(item: T, failed = false): boolean {
    const source = this.#of.get(item);
    if (source === undefined) return false;
    this.#of.delete(item);
    source.items.delete(item);
    if (source.items.size === 0) this.#sources.delete(source.name);
    if (failed) this.#countFailure(source.name);
    this.#rank(source);
    return true;
  }

  /** Its real source is another one; its age stays. */
  move(item: T, peer: PeerAddress): void {
    if (this.delete(item)) this.add(item, peer);
  }

  /** The one to send away. */
  get next(): T | undefined {
    for (; this.#top > 0; this.#top--) {
      for (const source of this.#ranks[this.#top] ?? []) {
        const [oldest] = source.items;
        // What was forgiven in the meantime lowers it.
        if (this.#rankOf(source) === this.#top) return oldest;
        this.#rank(source);
      }
    }
    return undefined;
  }

  #rankOf({ name, items }: Source<T>): number {
    if (items.size <= FAIR_SHARE) return items.size;
    const failures = this.#failures.get(name);
    if (failures === undefined) return items.size;
    if (performance.now() - failures.last < FORGIVEN_AFTER) return items.size + failures.count;
    this.#failures.delete(name);
    return items.size;
  }

  #rank(source: Source<T>): void {
    const rank = this.#rankOf(source);
    if (rank === source.rank) return;
    this.#ranks[source.rank]?.delete(source);
    source.rank = rank;
    if (rank === 0) return;
    (this.#ranks[rank] ??= new Set()).add(source);
    this.#top = Math.max(this.#top, rank);
  }

  #countFailure(name: string): void {
    const now = performance.now();
    const known = this.#failures.get(name);
    const before = known !== undefined && now - known.last < FORGIVEN_AFTER ? known.count : 0;
    // The latest goes last, so the first is the one to forget.
    this.#failures.delete(name);
    this.#failures.set(name, { count: Math.min(before + 1, MOST_FAILURES), last: now });
    if (this.#failures.size <= MOST_REMEMBERED) return;
    const [oldest] = this.#failures.keys();
    this.#failures.delete(oldest!);
  }
}

/** Connections that have not shown yet who they are, and which of them goes when the server is full. */
import type { PeerAddress } from '../address.js';
import type { ResolvedOptions } from '../options.js';
import type { CloseReason } from '../reasons.js';
import type { ServerInside } from '../server-inside.js';
import { Failures } from './failures.js';
import { Scale, type Weighed } from './scale.js';
import { networkOf, sourceOf } from './sources.js';

/** Unestablished connections that a source may always have: below that its failures do not count. */
const FAIR_SHARE = 8;
/** Ends that the server chose. */
const ourDecision: ReadonlySet<CloseReason | undefined> = new Set(['displaced', 'source-limit', 'drain', 'worker']);

type Rules = Pick<
  ResolvedOptions,
  'maxConnections' | 'maxUnestablishedPerSource' | 'isKnownSource' | 'reservedPerSource' | 'maxFailedSources'
>;

/** Sources whose connections count together: a /48, or one source alone. */
interface Network<T> extends Weighed {
  readonly name: string;
  /** Its sources, and their connections but for those in the reserve. */
  members: number;
  count: number;
  readonly sources: Scale<Source<T>>;
}

interface Source<T> extends Weighed {
  readonly name: string;
  readonly network: Network<T>;
  /** The oldest first. */
  readonly items: Set<T>;
  /** The scale that it lies on: its network's, or the reserve. */
  scale: Scale<Source<T>>;
  /** How many of its items its network counts, or the reserve. */
  counted: number;
}

/** Whether connections begin without being established: a PROXY header, a TLS handshake or the handler's check comes first. */
export function beginsUnestablished({ options, transport }: Pick<ServerInside, 'options' | 'transport'>): boolean {
  if (transport.kind === 'datagram') return false;
  const { proxyProtocol, establishedBy } = options;
  return proxyProtocol !== false || transport.handshake !== undefined || establishedBy === 'handler';
}

/** Whether the end of a connection that is not established counts against its source: unless the server ended it. */
export function isFailure(reason: CloseReason | undefined): boolean {
  return !ourDecision.has(reason);
}

/**
 * Connections that are not established yet, by source, and the one that goes for a newcomer when the server is full: of
 * the network that has most, of its source that has most, the oldest. So a flood displaces itself, and a client has as
 * long as the flood needs to go through all places, even when it shares its address with the flood.
 *
 * A connection that ended without being established still counts for a while, so a source of failures has a
 * smaller share. The first few connections of a known source go last, unless such connections are half of
 * what the server takes.
 */
export class Unestablished<T> {
  readonly #rules: () => Rules;
  readonly #sources = new Map<string, Source<T>>();
  readonly #networks = new Map<string, Network<T>>();
  readonly #of = new Map<T, Source<T>>();
  readonly #failures: Failures;
  readonly #scale = new Scale<Network<T>>();
  readonly #reserve = new Scale<Source<T>>();
  #reserved = 0;

  constructor(rules: () => Rules) {
    this.#rules = rules;
    this.#failures = new Failures(() => rules().maxFailedSources);
  }

  get size(): number {
    return this.#of.size;
  }

  add(item: T, peer: PeerAddress): void {
    const source = this.#source('host' in peer ? sourceOf(peer.host) : '');
    source.items.add(item);
    this.#of.set(item, source);
    this.#weigh(source);
  }

  /** It is established, or gone; `failed`: gone without having been. False: it was not here. */
  delete(item: T, failed = false): boolean {
    const source = this.#of.get(item);
    if (source === undefined) return false;
    const { name, network, items } = source;
    this.#of.delete(item);
    items.delete(item);
    if (failed) {
      this.#failures.add(name);
      if (network.name !== name) this.#failures.add(network.name);
    }
    this.#weigh(source);
    if (items.size > 0) return true;
    this.#sources.delete(name);
    if (--network.members === 0) this.#networks.delete(network.name);
    return true;
  }

  /** Its real source is another one; its age stays. */
  move(item: T, peer: PeerAddress): void {
    if (this.delete(item)) this.add(item, peer);
  }

  /** The oldest one of the same source, when that has more than it may. */
  surplus(item: T): T | undefined {
    const { items } = this.#of.get(item) ?? {};
    if (items === undefined || items.size <= this.#rules().maxUnestablishedPerSource) return undefined;
    return first(items);
  }

  /** The one to send away. */
  get next(): T | undefined {
    const reserved = (): T | undefined => first(this.#reserve.heaviest(({ items }) => items.size)?.items);
    if (this.#reserved * 2 >= this.#rules().maxConnections) return reserved();
    const network = this.#scale.heaviest(({ name, count }) => this.#weightOf(name, count));
    const source = network?.sources.heaviest(({ name, items }) => this.#weightOf(name, items.size));
    return first(source?.items) ?? reserved();
  }

  #source(name: string): Source<T> {
    let source = this.#sources.get(name);
    if (source !== undefined) return source;
    const within = networkOf(name);
    let network = this.#networks.get(within);
    if (network === undefined) {
      network = { name: within, members: 0, count: 0, sources: new Scale(), weight: 0 };
      this.#networks.set(within, network);
    }
    source = { name, network, items: new Set(), scale: network.sources, counted: 0, weight: 0 };
    this.#sources.set(name, source);
    network.members++;
    return source;
  }

  /** The number of its connections has changed. */
  #weigh(source: Source<T>): void {
    const { name, network, items } = source;
    const { isKnownSource, reservedPerSource } = this.#rules();
    const isReserved = items.size > 0 && items.size <= reservedPerSource && isKnownSource?.(name) === true;
    const scale = isReserved ? this.#reserve : network.sources;
    if (scale !== source.scale) {
      this.#count(source, 0);
      source.scale.put(source, 0);
      source.scale = scale;
    }
    this.#count(source, items.size);
    scale.put(source, isReserved ? items.size : this.#weightOf(name, items.size));
    this.#scale.put(network, this.#weightOf(network.name, network.count));
  }

  #count(source: Source<T>, count: number): void {
    const more = count - source.counted;
    source.counted = count;
    if (source.scale === this.#reserve) this.#reserved += more;
    else source.network.count += more;
  }

  #weightOf(name: string, count: number): number {
    return count <= FAIR_SHARE ? count : count + this.#failures.of(name);
  }
}

const first = <T>(items: Set<T> | undefined): T | undefined => items?.values().next().value;

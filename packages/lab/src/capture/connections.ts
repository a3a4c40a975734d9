/** Turns the packets of a capture into events of connections. */
import { networkPacket } from './frame.js';
import { CAPTURE_LIMITS, type CaptureLimits, type Packet } from './packet.js';
import type { Skipped } from './skipped.js';
import { Stream, type GapReason, type Held } from './stream.js';
import { transportOf, type TcpSegment, type UdpDatagram } from './transport.js';

type Direction = 'up' | 'down';

/** What a capture shows of its connections. `up` is from the client to the server. */
export type CapturedEvent =
  | {
      readonly type: 'open';
      readonly connection: number;
      readonly client: string;
      readonly server: string;
      readonly protocol: 'tcp' | 'udp';
      /** The capture began later than the connection. */
      readonly midway?: true;
    }
  | {
      readonly type: 'read';
      readonly connection: number;
      readonly direction: Direction;
      readonly bytes: Buffer;
      readonly seen: 'segment' | 'datagram';
    }
  | {
      readonly type: 'wire';
      readonly connection: number;
      readonly direction: Direction;
      readonly what: 'repeated' | 'early' | 'gap';
      readonly offset: number;
      readonly length: number;
      readonly reason?: GapReason;
    }
  | { readonly type: 'end'; readonly connection: number; readonly direction: Direction }
  | {
      readonly type: 'close';
      readonly connection: number;
      readonly up: number;
      readonly down: number;
      readonly error?: string;
      /** Who reset it. */
      readonly reset?: Direction;
    };

interface Connection {
  readonly id: number;
  readonly client: string;
  /** Absent for UDP. */
  readonly streams?: Record<Direction, Stream>;
  readonly passed: Record<Direction, number>;
  closed: boolean;
}

/** Follows the connections of a capture, packet by packet. */
export class Connections {
  readonly #onEvent: (event: CapturedEvent, atMs: number) => void;
  readonly #skipped: Skipped;
  readonly #most: number;
  readonly #held: Held;
  /** By their two ends; the one idle for longest first. */
  readonly #open = new Map<string, Connection>();
  #count = 0;
  #startNs: bigint | undefined;
  #atMs = 0;

  /** @param onEvent gets milliseconds since the first packet */
  constructor(skipped: Skipped, limits: CaptureLimits, onEvent: (event: CapturedEvent, atMs: number) => void) {
    this.#skipped = skipped;
    this.#onEvent = onEvent;
    this.#most = limits.connections ?? CAPTURE_LIMITS.connections;
    this.#held = {
      bytes: 0,
      mostBytes: limits.heldBytes ?? CAPTURE_LIMITS.heldBytes,
      mostSegments: limits.heldSegments ?? CAPTURE_LIMITS.heldSegments,
    };
  }

  see(packet: Packet): void {
    this.#startNs ??= packet.ns;
    this.#atMs = Number(packet.ns - this.#startNs) / 1e6;
    if (packet.bytes.length < packet.originalLength) this.#skipped.note('packets of which only the beginning was kept');
    const ip = networkPacket(packet);
    const found = typeof ip === 'string' ? ip : transportOf(ip);
    if (typeof found === 'string') this.#skipped.count(found);
    else if (found.protocol === 'tcp') this.#segment(found);
    else this.#datagram(found);
  }

  /** The nanoseconds since 1970 of the first packet. */
  get startNs(): bigint | undefined {
    return this.#startNs;
  }

  /** The capture ends: reports what waits, and closes what is open. */
  end(): void {
    for (const connection of this.#open.values()) {
      if (!connection.closed) this.#close(connection, connection.streams && 'open when the capture ended');
    }
    this.#open.clear();
  }

  #segment(segment: TcpSegment): void {
    const { syn, ack, rst, fin } = segment.flags;
    const [key, source, destination] = ends(segment);
    let connection = this.#open.get(key);
    if (connection && syn && !ack && this.#replaces(connection, source, segment)) {
      if (!connection.closed) this.#close(connection, 'its addresses began another one');
      connection = undefined;
    }
    if (!connection) {
      if (rst) {
        this.#skipped.count('resets of no connection');
        return;
      }
      const [client, server] = syn ? (ack ? [destination, source] : [source, destination]) : guessed(segment);
      connection = this.#begin(key, client, server, 'tcp', !syn || ack);
    } else this.#touch(key, connection);
    if (connection.closed) {
      if (segment.length > 0) this.#skipped.count('segments with data behind the end of their connection');
      return;
    }
    const direction: Direction = source === connection.client ? 'up' : 'down';
    const { up, down } = connection.streams!;
    const [own, other] = direction === 'up' ? [up, down] : [down, up];
    if (syn) own.begin(segment.sequence);
    if (rst) {
      this.#close(connection, `reset by the ${direction === 'up' ? 'client' : 'server'}`, direction);
      return;
    }
    const first = syn ? (segment.sequence + 1) >>> 0 : segment.sequence;
    if (!own.segment(first, segment.payload, segment.length, fin)) {
      this.#skipped.count('segments outside of any window');
    }
    if (ack) other.acknowledge(segment.acknowledged);
    up.passed();
    down.passed();
    if (up.over && down.over) this.#close(connection);
  }

  /** Whether a SYN begins another connection, rather than to repeat what began this one. */
  #replaces({ streams, client, closed }: Connection, source: string, { sequence }: TcpSegment): boolean {
    return closed || source !== client || (streams!.up.begunWith !== undefined && streams!.up.begunWith !== sequence);
  }

  #datagram(datagram: UdpDatagram): void {
    const [key, source, destination] = ends(datagram);
    let connection = this.#open.get(key);
    if (connection) this.#touch(key, connection);
    else connection = this.#begin(key, source, destination, 'udp', false);
    const direction: Direction = source === connection.client ? 'up' : 'down';
    const { id, passed } = connection;
    const { payload, length } = datagram;
    this.#emit({ type: 'read', connection: id, direction, bytes: payload, seen: 'datagram' });
    passed[direction] += payload.length;
    const cut = length - payload.length;
    if (cut > 0) this.#gap(id, direction, passed[direction], cut, 'cut by the capture');
    passed[direction] += Math.max(0, cut);
  }

  #begin(key: string, client: string, server: string, protocol: 'tcp' | 'udp', midway: boolean): Connection {
    this.#makeRoom();
    const id = ++this.#count;
    const passed = { up: 0, down: 0 };
    this.#emit({ type: 'open', connection: id, client, server, protocol, ...(midway && { midway }) });
    const streams = { up: this.#stream(id, 'up', passed), down: this.#stream(id, 'down', passed) };
    const connection = { id, client, passed, closed: false, ...(protocol === 'tcp' && { streams }) };
    this.#open.set(key, connection);
    return connection;
  }

  #stream(connection: number, direction: Direction, passed: Record<Direction, number>): Stream {
    const where = { connection, direction };
    return new Stream(
      {
        bytes: (bytes) => {
          passed[direction] += bytes.length;
          this.#emit({ type: 'read', ...where, bytes, seen: 'segment' });
        },
        gap: (offset, length, why) => this.#gap(connection, direction, offset, length, why),
        repeated: (offset, length) => this.#emit({ type: 'wire', ...where, what: 'repeated', offset, length }),
        early: (offset, length) => this.#emit({ type: 'wire', ...where, what: 'early', offset, length }),
        end: () => this.#emit({ type: 'end', ...where }),
      },
      this.#held,
    );
  }

  #gap(connection: number, direction: Direction, offset: number, length: number, reason: GapReason): void {
    this.#skipped.note('gaps in connections');
    this.#emit({ type: 'wire', connection, direction, what: 'gap', offset, length, reason });
  }

  /** Lets the connection go that has been idle for longest. */
  #makeRoom(): void {
    if (this.#open.size < this.#most) return;
    const [key, idle] = this.#open.entries().next().value!;
    if (!idle.closed) {
      this.#skipped.note(`connections let go: more than ${this.#most} were open`);
      this.#close(idle, `let go: more than ${this.#most} connections were open`);
    }
    this.#open.delete(key);
  }

  #touch(key: string, connection: Connection): void {
    this.#open.delete(key);
    this.#open.set(key, connection);
  }

  /** @param why holds unless both sides have ended */
  #close(connection: Connection, why?: string, reset?: Direction): void {
    const { id, passed, streams } = connection;
    streams?.up.finish();
    streams?.down.finish();
    connection.closed = true;
    const error = streams?.up.ended && streams.down.ended && !reset ? undefined : why;
    this.#emit({
      type: 'close',
      connection: id,
      ...passed,
      ...(error !== undefined && { error }),
      ...(reset && { reset }),
    });
  }

  #emit(event: CapturedEvent): void {
    this.#onEvent(event, this.#atMs);
  }
}

/** A name for the two ends together, and one for each. */
function ends(segment: TcpSegment | UdpDatagram): [key: string, source: string, destination: string] {
  const source = end(segment.source, segment.sourcePort);
  const destination = end(segment.destination, segment.destinationPort);
  const both = source < destination ? `${source} ${destination}` : `${destination} ${source}`;
  return [`${segment.protocol} ${both}`, source, destination];
}

function end(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** Who is the client if the capture does not show it: servers have the lower port; else who speaks first. */
function guessed(segment: TcpSegment): [client: string, server: string] {
  const [, source, destination] = ends(segment);
  return segment.sourcePort < segment.destinationPort ? [destination, source] : [source, destination];
}

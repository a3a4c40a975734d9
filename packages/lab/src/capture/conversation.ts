/** Makes the packets of a connection of which only the bytes are known: its handshake, segments and end. */
import { LARGEST_SEGMENT, tcpPacket, udpPacket, type Endpoint, type SegmentHeader } from './ip-packet.js';
import { pcapRecord } from './pcap-file.js';

type Direction = 'up' | 'down';

const other = { up: 'down', down: 'up' } as const;
const NOTHING = Buffer.alloc(0);
/** Sequence numbers of the SYNs. */
const FIRST = { up: 1000, down: 2000 } as const;

/** A connection over TCP. `up` is from the client to the server; each call returns the records of its packets. */
export class Conversation {
  readonly #ends: Record<Direction, Endpoint>;
  /** The next byte that each side sends, and up to where it has acknowledged the other. */
  readonly #next: Record<Direction, number> = { ...FIRST };
  readonly #acknowledged: Record<Direction, number> = { up: FIRST.down, down: FIRST.up };
  readonly #ended: Record<Direction, boolean> = { up: false, down: false };

  constructor(client: Endpoint, server: Endpoint) {
    this.#ends = { up: client, down: server };
  }

  open(atMs: number): Buffer[] {
    const syn = this.#packet(atMs, 'up', { sequence: this.#next.up++, syn: true });
    const answer = { sequence: this.#next.down++, acknowledged: this.#next.up, syn: true };
    const accepted = this.#packet(atMs, 'down', answer);
    this.#acknowledged.down = this.#next.up;
    return [syn, accepted, this.#acknowledge(atMs, 'up')];
  }

  /** Bytes in their order, acknowledged at once. */
  data(atMs: number, direction: Direction, bytes: Buffer): Buffer[] {
    const records: Buffer[] = [];
    for (let at = 0; at < bytes.length; at += LARGEST_SEGMENT) {
      records.push(
        this.segment(atMs, direction, this.offset(direction), bytes.subarray(at, at + LARGEST_SEGMENT)),
        this.#acknowledge(atMs, other[direction]),
      );
    }
    return records;
  }

  /** Bytes at any offset of the stream: early or once more, for instance. */
  segment(atMs: number, direction: Direction, offset: number, payload: Buffer): Buffer {
    const sequence = FIRST[direction] + 1 + offset;
    this.#next[direction] = Math.max(this.#next[direction], sequence + payload.length);
    return this.#packet(
      atMs,
      direction,
      {
        sequence,
        acknowledged: this.#acknowledged[direction],
        push: true,
      },
      payload,
    );
  }

  /** The side that sends in this direction has the other's bytes up to this offset. */
  acknowledge(atMs: number, direction: Direction, offset: number): Buffer {
    return this.#acknowledge(atMs, direction, FIRST[other[direction]] + 1 + offset);
  }

  /** Bytes that were not seen: the next ones follow behind a gap. */
  skip(direction: Direction, length: number): void {
    this.#next[direction] += length;
  }

  /** Bytes of a direction so far. */
  offset(direction: Direction): number {
    return this.#next[direction] - FIRST[direction] - 1;
  }

  end(atMs: number, direction: Direction): Buffer[] {
    if (this.#ended[direction]) return [];
    this.#ended[direction] = true;
    const header = { sequence: this.#next[direction]++, acknowledged: this.#acknowledged[direction], fin: true };
    return [this.#packet(atMs, direction, header), this.#acknowledge(atMs, other[direction])];
  }

  reset(atMs: number, direction: Direction): Buffer[] {
    const header = { sequence: this.#next[direction], acknowledged: this.#acknowledged[direction], rst: true };
    return [this.#packet(atMs, direction, header)];
  }

  #acknowledge(atMs: number, direction: Direction, upTo = this.#next[other[direction]]): Buffer {
    this.#acknowledged[direction] = upTo;
    return this.#packet(atMs, direction, { sequence: this.#next[direction], acknowledged: upTo });
  }

  #packet(atMs: number, direction: Direction, header: SegmentHeader, payload: Buffer = NOTHING): Buffer {
    return pcapRecord(atMs, tcpPacket(this.#ends[direction], this.#ends[other[direction]], header, payload));
  }
}

/** Most bytes of a datagram over IPv4. */
const LARGEST_DATAGRAM = 65_507;

/** The record of a datagram; a larger one than IP has room for gets cut. */
export function datagramRecord(atMs: number, from: Endpoint, to: Endpoint, payload: Buffer): Buffer {
  return pcapRecord(atMs, udpPacket(from, to, payload.subarray(0, LARGEST_DATAGRAM)));
}

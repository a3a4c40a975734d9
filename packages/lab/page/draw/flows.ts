/** One direction of a connection through a proxy with faults: bytes as they came and as they went on. */
import type { LabEvent } from '../../dist/page/protocol.js';

export type ChaosEvent = Extract<LabEvent, { type: 'chaos' }>;
export type Piece = Extract<ChaosEvent, { event: 'read' | 'write' }>;
export type Struck = Extract<ChaosEvent, { event: 'fault' }>;

/** Pieces of each kind that a flow keeps: the latest. */
const MOST_PIECES = 600;
const MOST_STRUCK = 600;
/** Flows that are kept: the latest. */
const MOST_FLOWS = 8;

const endOf = ({ offset, length }: Piece): number => offset + length;

/** The number of things seen, and what faults made of them. */
export interface Counts {
  reads: number;
  writes: number;
  /** Writes that end where no read did. */
  cuts: number;
  /** Ends of reads inside a write. */
  joins: number;
  flips: number;
  /** The longest time between a byte's read and its write, in milliseconds. */
  heldMs: number;
  /** Bytes that were read and never went on. Known when the connection has closed. */
  lost: number;
}

export const noCounts = (): Counts => ({ reads: 0, writes: 0, cuts: 0, joins: 0, flips: 0, heldMs: 0, lost: 0 });

export class Flow {
  readonly connection: number;
  readonly direction: 'up' | 'down';
  readonly reads: Piece[] = [];
  readonly writes: Piece[] = [];
  readonly struck: Struck[] = [];
  readonly counts = noCounts();
  isClosed = false;
  #begins = 0;

  constructor(connection: number, direction: 'up' | 'down') {
    this.connection = connection;
    this.direction = direction;
  }

  /** Bytes read, and bytes written. */
  get came(): number {
    const last = this.reads.at(-1);
    return last ? endOf(last) : 0;
  }
  get went(): number {
    const last = this.writes.at(-1);
    return last ? endOf(last) : 0;
  }

  /** The place among all reads of the first one that is kept: reads keep their colours. */
  get begins(): number {
    return this.#begins;
  }

  read(piece: Piece): void {
    this.reads.push(piece);
    this.counts.reads += 1;
    if (this.reads.length > MOST_PIECES) {
      this.reads.shift();
      this.#begins += 1;
    }
  }

  write(piece: Piece): void {
    this.writes.push(piece);
    if (this.writes.length > MOST_PIECES) this.writes.shift();
    const { counts } = this;
    counts.writes += 1;
    if (!this.reads.some((read) => endOf(read) === endOf(piece))) counts.cuts += 1;
    counts.joins += this.reads.filter((read) => endOf(read) > piece.offset && endOf(read) < endOf(piece)).length;
    counts.heldMs = Math.max(counts.heldMs, this.heldMs(piece));
  }

  strike(fault: Struck): void {
    if (fault.fault === 'corrupt') this.counts.flips += 1;
    this.struck.push(fault);
    if (this.struck.length > MOST_STRUCK) this.struck.shift();
  }

  close(): void {
    this.isClosed = true;
    this.counts.lost = this.came - this.went;
  }

  /** Milliseconds from the read of a write's last byte until it was written. */
  heldMs(write: Piece): number {
    const from = this.reads.find((read) => endOf(read) >= endOf(write));
    return from ? Math.max(0, write.atMs - from.atMs) : 0;
  }
}

/** The latest flows of a proxy. */
export class Flows {
  readonly #all = new Map<string, Flow>();

  get all(): Flow[] {
    return [...this.#all.values()];
  }

  /** The flows that the event belongs to. */
  see(event: ChaosEvent): Flow[] {
    switch (event.event) {
      case 'read':
      case 'write':
      case 'fault': {
        const flow = this.#of(event.connection, event.direction);
        if ('fault' in event) flow.strike(event);
        else if (event.event === 'read') flow.read(event);
        else flow.write(event);
        return [flow];
      }
      case 'close': {
        const own = this.all.filter(({ connection }) => connection === event.connection);
        for (const flow of own) flow.close();
        return own;
      }
      default:
        return [];
    }
  }

  #of(connection: number, direction: 'up' | 'down'): Flow {
    const key = `${connection} ${direction}`;
    const flow = this.#all.get(key) ?? new Flow(connection, direction);
    this.#all.set(key, flow);
    if (this.#all.size > MOST_FLOWS) this.#all.delete([...this.#all.keys()][0]!);
    return flow;
  }
}

/** The counts of several flows together. */
export function sumOf(flows: readonly Flow[]): Counts {
  const sum = noCounts();
  for (const { counts } of flows) {
    for (const name of ['reads', 'writes', 'cuts', 'joins', 'flips', 'lost'] as const) sum[name] += counts[name];
    sum.heldMs = Math.max(sum.heldMs, counts.heldMs);
  }
  return sum;
}

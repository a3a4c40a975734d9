/** Writes the events of a proxy to a file, and reads them back. */
import { createReadStream } from 'node:fs';
import { decodeAsync, lines } from '@sendall/framing';
import type { Direction } from '../faults/fault.js';
import type { Framings } from './inspector.js';
import type { ProxyEvent } from './proxy.js';
import { WholeFile } from './whole-file.js';

/** A line of a record: an event of the proxy, and its time. The first line describes the record. */
interface Recorded {
  readonly atMs: number;
  readonly event: 'open' | 'read' | 'end' | 'close';
  readonly connection: number;
  readonly direction?: Direction;
  readonly base64?: string;
  readonly [name: string]: unknown;
}

const VERSION = 1;
/** A read is at most 64 KiB, a third more in base64. */
const LONGEST_LINE = 1 << 18;

/** Writes the events of a proxy into a file: one JSON object a line, the bytes of each read in base64. */
export class Recorder {
  readonly #file: WholeFile;

  /**
   * @param onStop called once when the file cannot take more: recording ends, the file keeps whole lines of earlier
   * events, and the traffic continues
   * @param to the server, for those who read the record
   * @throws Error when the file cannot be created
   */
  constructor(path: string, framings: Framings, onStop: (sentence: string) => void = () => {}, to?: string) {
    const head = { wirelab: VERSION, ...framings, ...(to !== undefined && { to }), begunAt: new Date().toISOString() };
    this.#file = new WholeFile(path, line(head), onStop, '; the traffic goes on');
  }

  see(event: ProxyEvent, atMs: number): void {
    if (event.type !== 'open' && event.type !== 'read' && event.type !== 'end' && event.type !== 'close') return;
    const { type, ...rest } = event;
    if ('bytes' in rest) {
      const { bytes, ...where } = rest;
      this.#file.append(line({ atMs, event: type, ...where, base64: bytes.toString('base64') }));
    } else this.#file.append(line({ atMs, event: type, ...rest }));
  }

  close(): void {
    this.#file.close();
  }
}

function line(value: object): Buffer {
  return Buffer.from(`${JSON.stringify(value)}\n`);
}

/** A recording, as it is read. */
export interface ReadRecord {
  readonly framings: Framings;
  /** The server that the proxy passed the bytes on to. */
  readonly to?: string;
  /** When recording began, in milliseconds since 1970. */
  readonly begunAt: number;
  readonly events: AsyncIterable<{ readonly event: ProxyEvent; readonly atMs: number }>;
}

/**
 * Opens a record.
 * @throws Error that names the file and the line that is not part of a record
 */
export async function readRecord(path: string): Promise<ReadRecord> {
  const source = decodeAsync(createReadStream(path), lines({ maxFrameLength: LONGEST_LINE }))[Symbol.asyncIterator]();
  let number = 0;
  const next = async (): Promise<Record<string, unknown> | undefined> => {
    number++;
    try {
      const line = await source.next();
      if (line.done) return undefined;
      const value: unknown = JSON.parse(line.value.toString());
      if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).syscall) throw error; // the file itself
    }
    throw new Error(`${path} line ${number} is not part of a record of wirelab inspect`);
  };
  const head = await next();
  if (head?.['wirelab'] !== VERSION || typeof head['framing'] !== 'string') {
    throw new Error(`${path} is not a record of wirelab inspect (version ${VERSION})`);
  }
  const { framingBack: back, to } = head;
  const begunAt = Date.parse(String(head['begunAt']));
  const events = async function* () {
    for (let line = await next(); line; line = await next()) {
      const event = toEvent(line as unknown as Recorded);
      if (!event) throw new Error(`${path} line ${number} is not part of a record of wirelab inspect`);
      yield { event, atMs: Number(line['atMs']) };
    }
  };
  return {
    framings: { framing: head['framing'], ...(typeof back === 'string' && { framingBack: back }) },
    ...(typeof to === 'string' && { to }),
    begunAt: Number.isFinite(begunAt) ? begunAt : 0,
    events: events(),
  };
}

function toEvent(line: Recorded): ProxyEvent | undefined {
  const { event, connection, direction, base64 } = line;
  if (!Number.isInteger(connection) || !Number.isFinite(line.atMs)) return undefined;
  const directed = direction === 'up' || direction === 'down' ? direction : undefined;
  switch (event) {
    case 'open':
      return { type: 'open', connection, client: String(line['client']) };
    case 'read':
      if (!directed || typeof base64 !== 'string') return undefined;
      return { type: 'read', connection, direction: directed, bytes: Buffer.from(base64, 'base64') };
    case 'end':
      return directed && { type: 'end', connection, direction: directed };
    case 'close': {
      const error = line['error'];
      const counts = { up: Number(line['up']), down: Number(line['down']) };
      return { type: 'close', connection, ...counts, ...(typeof error === 'string' && { error }) };
    }
    default:
      return undefined;
  }
}

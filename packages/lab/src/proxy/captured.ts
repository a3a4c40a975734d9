/** Reads a capture's connections as if a proxy reported them. */
import { createReadStream } from 'node:fs';
import { Connections } from '../capture/connections.js';
import { CaptureError, type CaptureLimits } from '../capture/packet.js';
import { CaptureReader } from '../capture/reader.js';
import type { ProxyEvent } from './proxy.js';

/** A capture, as it is read. */
export interface ReadCapture {
  /** Ends at the file's end, or where it cannot be read further. */
  readonly events: AsyncIterable<{ readonly event: ProxyEvent; readonly atMs: number }>;
  /** Once the events have ended: what was left out and what a reader should know, by name and number. */
  readonly skipped: ReadonlyMap<string, number>;
  readonly noted: ReadonlyMap<string, number>;
  /** Packets so far. */
  readonly packets: number;
  /** Milliseconds since 1970 of the first packet, once it was read. */
  readonly begunAt: number;
  /** Why it could not be read to its end. */
  readonly broken: CaptureError | undefined;
}

/**
 * Opens a capture in the format pcap or pcapng.
 * @param path a file, or `-` for stdin
 */
export function readCapture(path: string, limits: CaptureLimits = {}): ReadCapture {
  const reader = new CaptureReader(limits);
  const { skipped, noted } = reader.skipped;
  const waiting: { event: ProxyEvent; atMs: number }[] = [];
  const connections = new Connections(reader.skipped, limits, (event, atMs) => waiting.push({ event, atMs }));
  let packets = 0;
  let broken: CaptureError | undefined;
  const events = async function* () {
    const source = path === '-' ? process.stdin : createReadStream(path);
    try {
      for await (const chunk of source as AsyncIterable<Buffer>) {
        for (const packet of reader.push(chunk)) {
          packets++;
          connections.see(packet);
          if (waiting.length > 0) yield* waiting.splice(0);
        }
      }
      reader.end();
    } catch (error) {
      if (!(error instanceof CaptureError)) throw error;
      broken = error;
    }
    connections.end();
    yield* waiting.splice(0);
  };
  return {
    events: events(),
    skipped,
    noted,
    get packets() {
      return packets;
    },
    get begunAt() {
      return Number(connections.startNs ?? 0n) / 1e6;
    },
    get broken() {
      return broken;
    },
  };
}

/** Watches the TCP segments of a connection, with a capture or the kernel's counters. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { promisify } from 'node:util';
import { networkPacket } from '../capture/frame.js';
import { CaptureReader } from '../capture/reader.js';
import { transportOf, type TcpSegment } from '../capture/transport.js';
import { milliseconds, type Acknowledgement, type Segments, type Span, type Trace } from './trace.js';

const run = promisify(execFile);

/** Most milliseconds to wait for what the capture has not told yet. */
const LONGEST_WAIT_MS = 3000;

/** A segment, and its time in milliseconds since 1970. */
type CapturedSegment = TcpSegment & { readonly time: number };

/** Watches the segments that arrive at a port of 127.0.0.1 until `stop`. */
export interface SegmentWatch {
  /** The segments since the watch began, or since `mark()`, as far as this machine reveals them. */
  stop(trace: Trace): Promise<Segments>;
  /** Ignores the segments so far: a dialogue before the experiment, in which the port got this many bytes. */
  mark(bytes: number): Promise<void>;
}

/** Captures with tcpdump if installed and permitted; otherwise reads the kernel's counters with `ss`. */
export async function watchSegments(port: number): Promise<SegmentWatch> {
  return (await capture(port)) ?? counters(port);
}

async function capture(port: number): Promise<SegmentWatch | undefined> {
  const dump = spawn('tcpdump', ['-i', 'lo', '-U', '-w', '-', '--immediate-mode', '-Z', 'root', `tcp port ${port}`], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const reader = new CaptureReader();
  const seen: CapturedSegment[] = [];
  let broken = false;
  dump.stdout.on('data', (chunk: Buffer) => {
    try {
      for (const packet of reader.push(chunk)) {
        const ip = networkPacket(packet);
        const segment = typeof ip === 'string' ? ip : transportOf(ip);
        if (typeof segment === 'string' || segment.protocol !== 'tcp') continue;
        seen.push({ ...segment, payload: Buffer.from(segment.payload), time: Number(packet.ns) / 1e6 });
      }
    } catch {
      broken = true;
    }
  });
  const listening = await new Promise<boolean>((resolve) => {
    let said = '';
    dump.stderr.on('data', (chunk: Buffer) => {
      said += chunk.toString();
      if (said.includes('listening on')) resolve(true);
    });
    dump.on('error', () => resolve(false));
    dump.on('exit', () => resolve(false));
  });
  if (!listening) return undefined;
  let ignored = 0;
  /** The capture is another process: it is complete when it has so many bytes, and nothing more arrives for a moment. */
  const settle = async (bytes: number): Promise<boolean> => {
    const until = performance.now() + LONGEST_WAIT_MS;
    const isComplete = () => bytesSeen(seen.slice(ignored), port) >= bytes;
    for (let before = -1; before !== seen.length || (!isComplete() && performance.now() < until);) {
      before = seen.length;
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
    return isComplete();
  };
  return {
    async mark(bytes) {
      await settle(bytes);
      ignored = seen.length;
    },
    async stop(trace) {
      const isComplete = await settle(trace.reads.reduce((sum, { length }) => sum + length, 0));
      const ended = once(dump, 'exit');
      dump.kill('SIGTERM');
      await ended;
      if (broken) return { source: 'not seen', reason: 'the capture could not be read' };
      if (!isComplete) return { source: 'not seen', reason: 'the capture lacks some of the bytes' };
      return fromCapture(seen.slice(ignored), port, trace);
    },
  };
}

/** How many bytes of the stream to the port the segments have, each once. */
function bytesSeen(captured: readonly CapturedSegment[], port: number): number {
  const data = captured.filter(({ destinationPort, payload }) => destinationPort === port && payload.length > 0);
  return Math.max(0, ...data.map(({ sequence, payload }) => ((sequence - data[0]!.sequence) >>> 0) + payload.length));
}

function fromCapture(captured: CapturedSegment[], port: number, trace: Trace): Segments {
  const data = captured.filter(({ destinationPort, payload }) => destinationPort === port && payload.length > 0);
  const first = data[0];
  if (!first) return { source: 'capture', count: 0, spans: [], repeated: 0, acknowledgements: [] };
  const offsetOf = ({ sequence }: CapturedSegment): number => (sequence - first.sequence) >>> 0;
  const onOurClock = ({ time }: CapturedSegment): number => time - performance.timeOrigin - trace.startedAt;
  const arrivals = data.map((segment) => ({ offset: offsetOf(segment), atMs: onOurClock(segment) }));
  const ahead = clockAhead(arrivals, trace);
  const timeOf = (segment: CapturedSegment): number => milliseconds(onOurClock(segment) - ahead);
  const spans: Span[] = [];
  let end = 0;
  let repeated = 0;
  for (const segment of data) {
    const offset = offsetOf(segment);
    if (offset < end) repeated++;
    end = Math.max(end, offset + segment.payload.length);
    spans.push({ atMs: timeOf(segment), offset, length: segment.payload.length, bytes: segment.payload });
  }
  const acknowledgements: Acknowledgement[] = [];
  let told = 0;
  for (const segment of captured) {
    if (segment.sourcePort !== port || !segment.flags.ack) continue;
    const beyond = (segment.acknowledged - first.sequence) >>> 0;
    // The end of the stream counts as a byte; what was told before the first byte is far above that.
    const offset = Math.min(beyond, end);
    if (beyond > end + 1 || offset <= told) continue;
    told = offset;
    acknowledgements.push({ atMs: timeOf(segment), offset });
  }
  return { source: 'capture', count: spans.length, spans, repeated, acknowledgements };
}

/**
 * Milliseconds by which the capture's clock is ahead of the trace's: as few as put no segment before the write of its
 * first byte, nor its first arrival after the read of that byte. The system's clock may be set at any time, and Node
 * takes its own origin from it with an error.
 */
function clockAhead(arrivals: readonly { offset: number; atMs: number }[], { writes, reads }: Trace): number {
  let [least, most] = [-Infinity, Infinity];
  let end = -1;
  for (const { offset, atMs } of arrivals) {
    const holds = (span: Span): boolean => offset >= span.offset && offset < span.offset + span.length;
    most = Math.min(most, atMs - (writes.find(holds)?.atMs ?? -Infinity));
    if (offset > end) least = Math.max(least, atMs - (reads.find(holds)?.atMs ?? Infinity));
    end = Math.max(end, offset);
  }
  return Math.min(Math.max(0, least), most);
}

/** TCP_INFO's count of data segments received, which any user may read through `ss` (iproute2). */
function counters(port: number): SegmentWatch {
  let before = 0;
  const count = async () => {
    const { stdout } = await run('ss', ['-tinHO', `sport = :${port}`]);
    const found = /data_segs_in:(\d+)/.exec(stdout);
    if (!found) throw new Error('ss shows no counter for this connection');
    return Number(found[1]);
  };
  return {
    async mark() {
      before = await count().catch(() => 0);
    },
    async stop() {
      try {
        return { source: 'kernel counters', count: (await count()) - before };
      } catch {
        return { source: 'not seen', reason: 'no permission for a capture (tcpdump), and no counters (ss)' };
      }
    },
  };
}

/** Watches the TCP segments of a connection, with a capture or the kernel's counters. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { promisify } from 'node:util';
import { PcapReader, type CapturedSegment } from './pcap.js';
import { milliseconds, type Acknowledgement, type Segments, type Span, type Trace } from './trace.js';

const run = promisify(execFile);

/** Watches the segments that arrive at a port of 127.0.0.1 until `stop`. */
export interface SegmentWatch {
  /** The segments since the watch began, or since `mark()`, as far as this machine reveals them. */
  stop(trace: Trace): Promise<Segments>;
  /** Ignores the segments so far (a dialogue before the experiment). */
  mark(): Promise<void>;
}

/** Captures with tcpdump if installed and permitted; otherwise reads the kernel's counters with `ss`. */
export async function watchSegments(port: number): Promise<SegmentWatch> {
  return (await capture(port)) ?? counters(port);
}

async function capture(port: number): Promise<SegmentWatch | undefined> {
  const dump = spawn('tcpdump', ['-i', 'lo', '-U', '-w', '-', '--immediate-mode', '-Z', 'root', `tcp port ${port}`], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const reader = new PcapReader();
  const seen: CapturedSegment[] = [];
  let broken = false;
  dump.stdout.on('data', (chunk: Buffer) => {
    try {
      seen.push(...reader.push(chunk));
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
  const settle = async () => {
    // The capture is another process: it is complete when nothing more arrives for a moment.
    for (let before = -1; before !== seen.length;) {
      before = seen.length;
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
  };
  return {
    async mark() {
      await settle();
      ignored = seen.length;
    },
    async stop(trace) {
      await settle();
      const ended = once(dump, 'exit');
      dump.kill('SIGTERM');
      await ended;
      if (broken) return { source: 'not seen', reason: 'the capture could not be read' };
      return fromCapture(seen.slice(ignored), port, trace);
    },
  };
}

function fromCapture(captured: CapturedSegment[], port: number, trace: Trace): Segments {
  const data = captured.filter(({ destinationPort, payload }) => destinationPort === port && payload.length > 0);
  const first = data[0];
  if (!first) return { source: 'capture', count: 0, spans: [], repeated: 0, acknowledgements: [] };
  const timeOf = ({ time }: CapturedSegment): number =>
    milliseconds(time * 1000 - performance.timeOrigin - trace.startedAt);
  const spans: Span[] = [];
  let end = 0;
  let repeated = 0;
  for (const segment of data) {
    const offset = (segment.sequence - first.sequence) >>> 0;
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

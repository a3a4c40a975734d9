/** `wirelab replay`: shows a record or a capture again, or sends it to a server. */
import { open, stat } from 'node:fs/promises';
import { parseAddress } from '../../address.js';
import { isCapture } from '../../capture/reader.js';
import { readCapture } from '../../proxy/captured.js';
import type { Framings } from '../../proxy/inspector.js';
import { PcapExport } from '../../proxy/pcap-export.js';
import type { ProxyEvent } from '../../proxy/proxy.js';
import { readRecord } from '../../proxy/record.js';
import { replayTo } from '../../proxy/replay.js';
import { sayCaptured } from '../captured.js';
import { checked, UsageError, type Arguments, type Command } from '../command.js';
import { FRAMING_SPECS, SPECS } from '../framing-specs.js';
import { limitOptionOf, limitsOf, viewLimits } from '../limits.js';
import { print, say } from '../output.js';
import { openView, viewOptions } from '../view.js';

export const command: Command = {
  name: 'replay',
  usage: [
    'FILE [--connection N] [--framing SPEC] [--framing-back SPEC] [--filter FILTER] [--pairs HOW] [--json]',
    'FILE --to ADDR [--connection N] [--speed 1|max] [--patience SECONDS]',
    'FILE --export FILE.pcap [--connection N]',
  ],
  summary: 'shows what inspect recorded, or a capture; with --to sends it to a server',
  about: [
    'FILE is a record of "wirelab inspect --record FILE", or a capture (pcap, pcapng). It is shown as inspect showed it, or',
    'with another framing.',
    '',
    'With --to it ends with 0 when the server has taken every byte of every connection and ended it, else with 1 and a',
    'sentence for each connection. Bytes that a capture lacks are not made up: their connection ends there.',
  ],
  examples: [
    'wirelab replay trouble.jsonl --framing u32le',
    'wirelab replay trouble.pcap --connection 3 --to 127.0.0.1:8080 --speed max',
    'wirelab replay trouble.jsonl --export trouble.pcap',
  ],
  options: {
    framing: { value: 'SPEC', help: `instead of the recorded one: ${SPECS}`, complete: ['guess', ...FRAMING_SPECS] },
    'framing-back': { value: 'SPEC', help: 'the framing of the server', complete: ['guess', ...FRAMING_SPECS] },
    connection: { value: 'N', help: 'only this connection' },
    ...viewOptions,
    to: {
      value: 'ADDR',
      help: 'sends the bytes of the clients to a server, cut and timed as they were, and shows its answers',
    },
    speed: { value: 'N', help: 'with --to: N times as fast; "max": without any wait', complete: ['max'] },
    patience: {
      value: 'SECONDS',
      help: 'with --to: how long the server may stay idle before the replay gives up, default 10',
    },
    export: {
      value: 'FILE',
      help: 'writes what is shown as a capture for tcpdump and Wireshark, with handshakes made up',
      complete: 'file',
    },
    limit: limitOptionOf(viewLimits),
  },
  complete: 'file',
  async run(args) {
    const [file, ...rest] = args.words;
    if (file === undefined || rest.length > 0) throw new UsageError('replay takes one FILE');
    const to = args.text('to');
    const address = to === undefined ? undefined : checked(() => parseAddress(to));
    const speed = args.text('speed') === 'max' ? Infinity : (args.number('speed', 0.001, 1_000_000) ?? 1);
    const patience = args.number('patience', 0.001, 86_400) ?? 10;
    const source = await openSource(args, file);
    const events = only(source.events, args.integer('connection', 1, Number.MAX_SAFE_INTEGER));
    const waiting: string[] = [];
    const view = openView(args, source.framings, (lines) => waiting.push(...lines));
    let failed = false;
    const fail = (sentence: string) => {
      failed = true;
      say(`wirelab: ${sentence}`);
    };
    const exported = args.text('export');
    const replayedAt = Date.now();
    const begunAt = address ? () => replayedAt : source.begunAt;
    const capture = exported === undefined ? undefined : new PcapExport(exported, begunAt, to ?? source.to, fail);
    const show = (event: ProxyEvent, atMs: number) => {
      view.see(event, atMs);
      capture?.see(event, atMs);
    };
    if (address) {
      const troubles = await replayTo(address, events, {
        speed,
        patienceMs: patience * 1000,
        onEvent(event, atMs) {
          show(event, atMs);
          void print(...waiting.splice(0));
        },
      });
      for (const trouble of troubles) fail(trouble);
    } else {
      for await (const { event, atMs } of events) {
        show(event, atMs);
        await print(...waiting.splice(0));
      }
    }
    view.end();
    await print(...waiting);
    capture?.close();
    return Math.max(source.end(), failed ? 1 : 0);
  },
};

interface Source {
  readonly framings: Framings;
  readonly events: AsyncIterable<Timed>;
  readonly to: string | undefined;
  /** Milliseconds since 1970 at time 0. */
  readonly begunAt: () => number;
  /** Says what a reader should know of it. Returns the exit code. */
  readonly end: () => number;
}

interface Timed {
  readonly event: ProxyEvent;
  readonly atMs: number;
}

async function openSource(args: Arguments, file: string): Promise<Source> {
  const framing = args.text('framing');
  const framingBack = args.text('framing-back');
  if (await beginsAsCapture(file)) {
    const capture = readCapture(file, limitsOf(args, viewLimits));
    return {
      framings: { framing: framing ?? 'guess', framingBack },
      events: capture.events,
      to: undefined,
      begunAt: () => capture.begunAt,
      end: () => sayCaptured(file, capture),
    };
  }
  const record = await readRecord(file);
  return {
    framings: framing === undefined ? record.framings : { framing, framingBack },
    events: record.events,
    to: record.to,
    begunAt: () => record.begunAt,
    end: () => 0,
  };
}

async function beginsAsCapture(file: string): Promise<boolean> {
  // A pipe would lose its first bytes. What is wrong with a file, its reader says.
  const found = await stat(file).catch(() => undefined);
  if (!found?.isFile()) return false;
  const opened = await open(file);
  try {
    const { bytesRead, buffer } = await opened.read(Buffer.alloc(4), 0, 4, 0);
    return isCapture(buffer.subarray(0, bytesRead));
  } finally {
    await opened.close();
  }
}

async function* only(events: AsyncIterable<Timed>, connection: number | undefined): AsyncGenerator<Timed> {
  let found = connection === undefined;
  for await (const timed of events) {
    if (connection !== undefined && (!('connection' in timed.event) || timed.event.connection !== connection)) continue;
    found = true;
    yield timed;
  }
  if (!found) throw new Error(`there is no connection ${connection}`);
}

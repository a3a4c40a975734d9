/** `wirelab inspect`: which reads carried which messages, through a proxy or in a capture. */
import { formatAddress, parseAddress } from '../../address.js';
import { readCapture } from '../../proxy/captured.js';
import { PcapExport } from '../../proxy/pcap-export.js';
import { startProxy } from '../../proxy/proxy.js';
import { Recorder } from '../../proxy/record.js';
import { capturedJson, sayCaptured } from '../captured.js';
import { checked, under, UsageError, type Arguments, type Command } from '../command.js';
import { FRAMING_SPECS, SPECS } from '../framing-specs.js';
import { limitOptionOf, limitsOf, viewLimits } from '../limits.js';
import { interrupted, print, printLive, say } from '../output.js';
import { openView, viewOptions } from '../view.js';

export const command: Command = {
  name: 'inspect',
  usage: [
    '--listen ADDR --to ADDR --framing SPEC [--framing-back SPEC] [--filter FILTER] [--pairs HOW] [--json] [--record FILE]',
    '--pcap FILE [--framing SPEC] [--framing-back SPEC] [--filter FILTER] [--pairs HOW] [--json]',
  ],
  summary: 'which reads carried which messages, live, between a client and a server',
  about: [
    'Stands between a client and a server and shows which read carried which messages: whole, glued, split, partial. Bytes',
    'pass unaltered, and a side that does not read holds the other one back. "→" is from the client to the server.',
    'ADDR is HOST:PORT, PORT (127.0.0.1) or unix:PATH.',
    '',
    'The reads are those of this proxy, which is what a socket can see. Only a capture sees segments (wirelab show sticky).',
    '',
    'With --pcap it shows the connections of a capture, segment by segment, put into order by their sequence numbers:',
    'pcap and pcapng, TCP and UDP, IPv4 and IPv6. It says what came again, what came early, what is missing, and what was',
    'left out. It ends with 1 when the file cannot be read to its end.',
  ],
  examples: [
    'wirelab inspect --listen 7000 --to 127.0.0.1:6379 --framing crlf --pairs auto',
    'wirelab inspect --listen 7000 --to 127.0.0.1:5672 --framing guess --record trouble.jsonl',
    'wirelab inspect --pcap trouble.pcap --filter \'connection 3 and from client and text "HELLO"\'',
    'tcpdump -i any -w - port 5432 | wirelab inspect --pcap -',
  ],
  options: {
    ...under('Between a client and a server', {
      listen: { value: 'ADDR', help: 'the address for clients' },
      to: { value: 'ADDR', help: 'the server' },
      record: {
        value: 'FILE',
        help: 'records everything for wirelab replay; a full disk stops the recording, not the traffic',
        complete: 'file',
      },
      export: {
        value: 'FILE',
        help: 'the same as a capture for tcpdump and Wireshark: the bytes and their times, with handshakes made up',
        complete: 'file',
      },
    }),
    ...under('A capture', {
      pcap: { value: 'FILE', help: 'a file of tcpdump or Wireshark; "-": stdin', complete: 'file' },
      limit: limitOptionOf(viewLimits),
    }),
    framing: {
      value: 'SPEC',
      help:
        `${SPECS}; "raw": none; "guess" (the default with --pcap): find out, TLS, PostgreSQL, AMQP and HTTP/2 by their ` +
        'first bytes. It says when a framing cannot be right',
      complete: ['guess', ...FRAMING_SPECS],
    },
    'framing-back': {
      value: 'SPEC',
      help: "of what the server says, when it is another one (the tutorial's struct-i: raw there, i32le back)",
      complete: ['guess', ...FRAMING_SPECS],
    },
    ...viewOptions,
  },
  async run(args) {
    if (args.words.length > 0) throw new UsageError(`inspect takes options only, not "${args.words[0]}"`);
    const pcap = args.text('pcap');
    return pcap === undefined ? inspectLive(args) : inspectCapture(args, pcap);
  },
};

async function inspectCapture(args: Arguments, file: string): Promise<number> {
  const other = ['listen', 'to', 'record', 'export'].find((name) => args.on(name));
  if (other !== undefined) throw new UsageError(`--${other} is for live traffic: it does not go with --pcap`);
  const framings = { framing: args.text('framing') ?? 'guess', framingBack: args.text('framing-back') };
  const waiting: string[] = [];
  const view = openView(args, framings, (lines) => waiting.push(...lines));
  const capture = readCapture(file, limitsOf(args, viewLimits));
  for await (const { event, atMs } of capture.events) {
    view.see(event, atMs);
    await print(...waiting.splice(0));
  }
  view.end();
  if (args.on('json')) waiting.push(JSON.stringify(capturedJson(capture)));
  await print(...waiting);
  return sayCaptured(file, capture);
}

async function inspectLive(args: Arguments): Promise<number> {
  const [listen, to, framing] = ['listen', 'to', 'framing'].map((name) => args.text(name));
  const { record, exported } = { record: args.text('record'), exported: args.text('export') };
  if (listen === undefined || to === undefined || framing === undefined) {
    throw new UsageError('inspect takes --listen ADDR, --to ADDR and --framing SPEC, or --pcap FILE');
  }
  const framings = { framing, framingBack: args.text('framing-back') };
  const view = openView(args, framings, (lines) => printLive(...lines));
  // The kernel reports a file size limit by a signal that would end us; with a listener the write fails instead.
  if (record !== undefined || exported !== undefined) process.on('SIGXFSZ', () => {});
  const stops = (sentence: string) => say(`wirelab: ${sentence}`);
  const recorder = record === undefined ? undefined : new Recorder(record, framings, stops, to);
  const begunAt = Date.now();
  const begun = performance.now();
  const file =
    exported === undefined
      ? undefined
      : new PcapExport(
          exported,
          () => begunAt,
          to,
          (sentence) => stops(`${sentence}; the traffic goes on`),
        );
  const proxy = await startProxy({
    listen: checked(() => parseAddress(listen)),
    to: checked(() => parseAddress(to)),
    onEvent(event) {
      const atMs = performance.now() - begun;
      recorder?.see(event, atMs);
      file?.see(event, atMs);
      view.see(event, atMs);
    },
  });
  const stopped = interrupted();
  const address = formatAddress(proxy.address);
  if (args.on('json')) {
    printLive(JSON.stringify({ event: 'listening', address, ...proxy.address }));
    say(`listening ${address}`);
  } else printLive(`listening ${address}`);
  const code = await stopped;
  await proxy.close();
  view.end();
  recorder?.close();
  file?.close();
  return code;
}

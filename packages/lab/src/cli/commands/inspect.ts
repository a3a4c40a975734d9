/** `wirelab inspect`: a proxy that shows which reads carried which messages. */
import { formatAddress, parseAddress } from '../../address.js';
import { Inspector } from '../../proxy/inspector.js';
import { startProxy } from '../../proxy/proxy.js';
import { Recorder } from '../../proxy/record.js';
import { inspectedJson, renderInspected } from '../../render/inspected.js';
import { checked, UsageError, type Command } from '../command.js';
import { FRAMING_SPECS, SPECS } from '../framing-specs.js';
import { interrupted, printLive, say } from '../output.js';

export const command: Command = {
  name: 'inspect',
  usage: ['--listen ADDR --to ADDR --framing SPEC [--framing-back SPEC] [--json] [--record FILE]'],
  summary: 'which reads carried which messages, live, between a client and a server',
  about: [
    'Stands between a client and a server and shows which read carried which messages: whole, glued, split, partial. Bytes',
    'pass unaltered, and a side that does not read holds the other one back. "→" is from the client to the server.',
    'ADDR is HOST:PORT, PORT (127.0.0.1) or unix:PATH.',
    '',
    'The reads are those of this proxy, which is what a socket can see. Only a capture sees segments (wirelab show sticky).',
  ],
  examples: [
    'wirelab inspect --listen 7000 --to 127.0.0.1:6379 --framing crlf',
    'wirelab inspect --listen 7000 --to 127.0.0.1:5672 --framing guess --record trouble.jsonl',
  ],
  options: {
    listen: { value: 'ADDR', help: 'the address for clients' },
    to: { value: 'ADDR', help: 'the server' },
    framing: {
      value: 'SPEC',
      help:
        `${SPECS}; "raw": none; "guess": find out, TLS, PostgreSQL, AMQP and HTTP/2 by their first bytes. ` +
        'It says when a framing cannot be right',
      complete: ['guess', ...FRAMING_SPECS],
    },
    'framing-back': {
      value: 'SPEC',
      help: "of what the server says, when it is another one (the tutorial's struct-i: raw there, i32le back)",
      complete: ['guess', ...FRAMING_SPECS],
    },
    json: { help: 'one object a line' },
    record: {
      value: 'FILE',
      help: 'records everything for wirelab replay; a full disk stops the recording, not the traffic',
      complete: 'file',
    },
  },
  async run(args) {
    const [listen, to, framing] = ['listen', 'to', 'framing'].map((name) => args.text(name));
    const record = args.text('record');
    if (args.words.length > 0) throw new UsageError(`inspect takes options only, not "${args.words[0]}"`);
    if (listen === undefined || to === undefined || framing === undefined) {
      throw new UsageError('inspect takes --listen ADDR, --to ADDR and --framing SPEC');
    }
    const framings = { framing, framingBack: args.text('framing-back') };
    const inspector = checked(
      () =>
        new Inspector(framings, (event) =>
          printLive(...(args.on('json') ? [JSON.stringify(inspectedJson(event))] : renderInspected(event))),
        ),
    );
    // The kernel reports a file size limit by a signal that would end us; with a listener the write fails instead.
    if (record !== undefined) process.on('SIGXFSZ', () => {});
    const recorder =
      record === undefined ? undefined : new Recorder(record, framings, (sentence) => say(`wirelab: ${sentence}`));
    const begun = performance.now();
    const proxy = await startProxy({
      listen: checked(() => parseAddress(listen)),
      to: checked(() => parseAddress(to)),
      onEvent(event) {
        const atMs = performance.now() - begun;
        recorder?.see(event, atMs);
        inspector.see(event, atMs);
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
    recorder?.close();
    return code;
  },
};

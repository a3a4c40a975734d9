import { formatAddress, parseAddress } from '../../address.js';
import { Inspector } from '../../inspect.js';
import { startProxy } from '../../proxy.js';
import { Recorder } from '../../record.js';
import { inspectedJson, renderInspected } from '../../render/inspected.js';
import { checked, parse, UsageError, type Command } from '../command.js';
import { interrupted, printLive, say } from '../output.js';

export const command: Command = {
  summary: 'which reads carried which messages, live, between a client and a server',
  help: `wirelab inspect --listen ADDR --to ADDR --framing SPEC [--framing-back SPEC] [--json] [--record FILE]

Stands between a client and a server and shows which read carried which messages: whole, glued, split, partial. Bytes
pass unaltered, and a side that does not read holds the other one back. "→" is from the client to the server.

  --listen, --to   HOST:PORT, PORT (127.0.0.1) or unix:PATH
  --framing        u32be, varint, lines, … ; "raw": none; "guess": find out (also TLS, PostgreSQL, AMQP, HTTP/2 by their
                   first bytes). It says when a framing cannot be right
  --framing-back   of what the server says, when it is another one (the tutorial's struct-i: raw there, i32le back)
  --json           one object a line
  --record FILE    keeps everything, for wirelab replay; a disk that is full stops the recording, not the traffic

Reads are those of this proxy: what a socket can see. Segments only a capture sees (wirelab show sticky).

example: wirelab inspect --listen 7000 --to 127.0.0.1:6379 --framing crlf`,
  async run(words) {
    const { values } = parse({
      args: words,
      options: {
        listen: { type: 'string' },
        to: { type: 'string' },
        framing: { type: 'string' },
        'framing-back': { type: 'string' },
        json: { type: 'boolean' },
        record: { type: 'string' },
      },
    });
    const { listen, to, framing } = values;
    if (listen === undefined || to === undefined || framing === undefined) {
      throw new UsageError('inspect takes --listen ADDR, --to ADDR and --framing SPEC');
    }
    const framings = { framing, framingBack: values['framing-back'] };
    const inspector = checked(
      () =>
        new Inspector(framings, (event) =>
          printLive(...(values.json ? [JSON.stringify(inspectedJson(event))] : renderInspected(event))),
        ),
    );
    // A file size limit is told by a signal that would end us; with a listener the write fails instead.
    if (values.record !== undefined) process.on('SIGXFSZ', () => {});
    const recorder =
      values.record === undefined
        ? undefined
        : new Recorder(values.record, framings, (sentence) => say(`wirelab: ${sentence}`));
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
    if (values.json) {
      printLive(JSON.stringify({ event: 'listening', address, ...proxy.address }));
      say(`listening ${address}`);
    } else printLive(`listening ${address}`);
    const code = await stopped;
    await proxy.close();
    recorder?.close();
    return code;
  },
};

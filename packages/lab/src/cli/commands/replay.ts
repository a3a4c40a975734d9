/** `wirelab replay`: shows a record again, or sends it to a server. */
import { parseAddress } from '../../address.js';
import { Inspector } from '../../proxy/inspector.js';
import { readRecord } from '../../proxy/record.js';
import { inspectedJson, renderInspected } from '../../render/inspected.js';
import { replayTo } from '../../proxy/replay.js';
import { checked, UsageError, type Command } from '../command.js';
import { FRAMING_SPECS, SPECS } from '../framing-specs.js';
import { print, say } from '../output.js';

export const command: Command = {
  name: 'replay',
  usage: ['FILE [--framing SPEC] [--framing-back SPEC] [--json] [--to ADDR [--speed 1] [--patience SECONDS]]'],
  summary: 'shows what inspect recorded; with --to sends it to a server',
  about: [
    'Shows a record of "wirelab inspect --record FILE" as inspect showed it, or with another framing.',
    '',
    'With --to it ends with 0 when the server has taken every byte of every connection and ended it, else with 1 and a',
    'sentence for each connection.',
  ],
  examples: ['wirelab replay trouble.jsonl --framing u32le', 'wirelab replay trouble.jsonl --to 127.0.0.1:8080'],
  options: {
    framing: { value: 'SPEC', help: `instead of the recorded one: ${SPECS}`, complete: ['guess', ...FRAMING_SPECS] },
    'framing-back': { value: 'SPEC', help: 'the framing of the server', complete: ['guess', ...FRAMING_SPECS] },
    json: { help: 'one object a line' },
    to: {
      value: 'ADDR',
      help: 'sends the bytes of the clients to a server, cut and timed as they were, and shows its answers',
    },
    speed: { value: 'N', help: 'with --to: N times as fast' },
    patience: {
      value: 'SECONDS',
      help: 'with --to: how long the server may stay idle before the replay gives up, default 10',
    },
  },
  complete: 'file',
  async run(args) {
    const [file, ...rest] = args.words;
    if (file === undefined || rest.length > 0) throw new UsageError('replay takes one FILE');
    const to = args.text('to');
    const framing = args.text('framing');
    const address = to === undefined ? undefined : checked(() => parseAddress(to));
    const speed = args.number('speed', 0.001, 1_000_000) ?? 1;
    const patience = args.number('patience', 0.001, 86_400) ?? 10;
    const record = await readRecord(file);
    const framings = framing === undefined ? record.framings : { framing, framingBack: args.text('framing-back') };
    const waiting: string[] = [];
    const inspector = checked(
      () =>
        new Inspector(framings, (event) => {
          waiting.push(...(args.on('json') ? [JSON.stringify(inspectedJson(event))] : renderInspected(event)));
        }),
    );
    if (address) {
      const troubles = await replayTo(address, record.events, {
        speed,
        patienceMs: patience * 1000,
        onEvent(event, atMs) {
          inspector.see(event, atMs);
          void print(...waiting.splice(0));
        },
      });
      for (const trouble of troubles) say(`wirelab: ${trouble}`);
      return troubles.length === 0 ? 0 : 1;
    }
    for await (const { event, atMs } of record.events) {
      inspector.see(event, atMs);
      await print(...waiting.splice(0));
    }
    return 0;
  },
};

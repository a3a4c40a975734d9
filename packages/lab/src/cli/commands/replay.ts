import { parseAddress } from '../../address.js';
import { Inspector } from '../../inspect.js';
import { readRecord } from '../../record.js';
import { inspectedJson, renderInspected } from '../../render/inspected.js';
import { replayTo } from '../../replay.js';
import { checked, number, parse, UsageError, type Command } from '../command.js';
import { print, say } from '../output.js';

export const command: Command = {
  summary: 'what inspect recorded, once more; with --to against a server',
  help: `wirelab replay FILE [--framing SPEC] [--framing-back SPEC] [--json] [--to ADDR] [--speed 1]
               [--patience SECONDS]

Shows a record of "wirelab inspect --record FILE" as it was seen, with another framing if one is named.

  --to ADDR   sends what the clients sent to a server again, cut and timed as it was, and shows its answers
  --speed N   with --to: so many times as fast
  --patience SECONDS
              with --to: how long the server may neither take nor say anything, nor end, until it is given up; default 10

With --to it ends with 0 when the server has taken every byte of every connection and ended it, else with 1 and a
sentence for each connection.

example: wirelab replay trouble.jsonl --framing u32le`,
  async run(words) {
    const { values, positionals } = parse({
      args: words,
      allowPositionals: true,
      options: {
        framing: { type: 'string' },
        'framing-back': { type: 'string' },
        json: { type: 'boolean' },
        to: { type: 'string' },
        speed: { type: 'string' },
        patience: { type: 'string' },
      },
    });
    const [file, ...rest] = positionals;
    if (file === undefined || rest.length > 0) throw new UsageError('replay takes one FILE');
    const { to } = values;
    const address = to === undefined ? undefined : checked(() => parseAddress(to));
    const speed = number('speed', values.speed, 0.001, 1_000_000) ?? 1;
    const patience = number('patience', values.patience, 0.001, 86_400) ?? 10;
    const record = await readRecord(file);
    const framings =
      values.framing === undefined ? record.framings : { framing: values.framing, framingBack: values['framing-back'] };
    const waiting: string[] = [];
    const inspector = checked(
      () =>
        new Inspector(framings, (event) => {
          waiting.push(...(values.json ? [JSON.stringify(inspectedJson(event))] : renderInspected(event)));
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

/** The phenomenon `rtt`: the cost of `ready` on longer paths. */
import { openDialogue } from '../experiment/dialogue.js';
import { latency } from '../faults/latency.js';
import { lengthReady } from '../historical/length-ready.js';
import type { Protocol } from '../historical/protocol.js';
import { structI } from '../historical/struct-i.js';
import { text, type Text } from '../lang.js';
import { startProxy, type Proxy } from '../proxy/proxy.js';
import type { Trace } from '../wire/trace.js';
import type { Phenomenon } from './phenomenon.js';

const ROUND_TRIPS = [0, 10, 50, 100];
const MESSAGES = 5;
const cures = { ready: text('“ready”', 'ready'), prefix: text('length prefix', '长度前缀') };

/** The cost of the `ready` handshake on longer paths, compared with a length prefix. */
export const rtt: Phenomenon = {
  name: 'rtt',
  title: text('What “ready” costs on a longer path', 'ready 在更长的路径上的代价'),
  chapter: text(
    'This way magnifies what network latency costs, because the program runs far faster than the network.',
    '程序的运行速度远快于网络传输速度，这种方式会放大网络延迟带来的性能损耗。',
  ),
  async show({ onProgress }) {
    const rows: number[][] = [];
    let last: { readonly ready: Measured; readonly prefix: Measured } | undefined;
    const begin = (name: Text, roundTrip: number, done: number) =>
      onProgress?.({
        done,
        of: 2 * ROUND_TRIPS.length,
        what: text(`${name.en}, round trip of ${roundTrip} ms`, `${name.zh}，往返 ${roundTrip} 毫秒`),
      });
    for (const [index, roundTrip] of ROUND_TRIPS.entries()) {
      begin(cures.ready, roundTrip, 2 * index);
      const ready = await measure(lengthReady, roundTrip);
      begin(cures.prefix, roundTrip, 2 * index + 1);
      const prefix = await measure(structI, roundTrip);
      last = { ready, prefix };
      rows.push([roundTrip, ready.perMessage, prefix.perMessage, round(ready.perMessage / prefix.perMessage)]);
    }
    const [farRoundTrip, farReady, farPrefix] = rows.at(-1)! as [number, number, number];
    return {
      observations: [
        {
          name: 'prefix-far',
          title: text(
            `Length prefix at ${farRoundTrip} ms, server to client`,
            `往返 ${farRoundTrip} 毫秒时的长度前缀，服务端到客户端`,
          ),
          trace: last!.prefix.trace,
          back: last!.prefix.back,
          facts: { messagesEach: MESSAGES },
        },
        {
          name: 'ready-far',
          title: text(
            `“ready” at ${farRoundTrip} ms, server to client`,
            `往返 ${farRoundTrip} 毫秒时的 ready，服务端到客户端`,
          ),
          trace: last!.ready.trace,
          back: last!.ready.back,
          facts: { messagesEach: MESSAGES },
        },
      ],
      table: {
        columns: [
          text('round trip, ms', '往返时间（毫秒）'),
          text('ready, ms a message', 'ready，每条毫秒'),
          text('length prefix, ms a message', '长度前缀，每条毫秒'),
          text('ratio', '比值'),
        ],
        rows,
      },
      plot: {
        title: text('milliseconds a message', '每条消息的毫秒数'),
        unit: 'ms',
        bars: rows.flatMap(([roundTrip, ready, prefix]) => [
          { label: text(`${roundTrip} ms ready`, `${roundTrip} 毫秒 ready`), value: ready! },
          { label: text(`${roundTrip} ms prefix`, `${roundTrip} 毫秒 长度前缀`), value: prefix! },
        ]),
      },
      verdict: text(
        `At a round trip of ${farRoundTrip} ms “ready” costs ${Math.round(farReady)} ms a message, a length prefix ${Math.round(farPrefix)} ms`,
        `往返 ${farRoundTrip} 毫秒时，ready 每条消息 ${Math.round(farReady)} 毫秒，长度前缀 ${Math.round(farPrefix)} 毫秒`,
      ),
      explanation: text(
        `At a round trip of ${farRoundTrip} ms a message took ${farReady} ms with “ready” and ${farPrefix} ms with a length prefix (the median of ${MESSAGES} messages each, over a proxy that holds every byte back). ` +
          'The handshake adds one round trip to each message; the prefix adds none, because the length needs no answer.',
        `往返 ${farRoundTrip} 毫秒时，用 ready 每条消息 ${farReady} 毫秒，用长度前缀 ${farPrefix} 毫秒（各 ${MESSAGES} 条的中位数，经过一个扣留每个字节的代理）。` +
          'ready 让每条消息多一次往返；长度前缀不需要对方回答，所以一次也不多。',
      ),
    };
  },
};

interface Measured {
  /** The median: another process may hold up one of the messages. */
  readonly perMessage: number;
  readonly trace: Trace;
  readonly back: Trace;
}

async function measure(protocol: Protocol, roundTrip: number): Promise<Measured> {
  let proxy: Proxy | undefined;
  const via = async (port: number) => {
    if (roundTrip === 0) return port;
    const host = '127.0.0.1';
    proxy = await startProxy({ listen: { host, port: 0 }, to: { host, port }, faults: [latency(roundTrip / 2)] });
    return 'port' in proxy.address ? proxy.address.port : 0;
  };
  try {
    await using dialogue = await openDialogue(protocol, () => 'x'.repeat(1000), via);
    await dialogue.ask('ls'); // the first command also warms the program up
    dialogue.restart();
    const took: number[] = [];
    for (let index = 0; index < MESSAGES; index++) {
      const begin = performance.now();
      await dialogue.ask('ls');
      took.push(performance.now() - begin);
    }
    const perMessage = round(took.toSorted((a, b) => a - b)[MESSAGES >> 1]!);
    return { perMessage, trace: dialogue.down, back: dialogue.up };
  } finally {
    await proxy?.close();
  }
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

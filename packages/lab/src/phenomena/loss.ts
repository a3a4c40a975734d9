/** The phenomenon `loss`: a path that loses packets. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { text, type Text } from '../lang.js';
import type { Trace } from '../wire/trace.js';
import { LOSS_PERCENT, TCP_MESSAGES, UDP_MESSAGES, type LossReport } from './loss-report.js';
import type { Phenomenon, Shown } from './phenomenon.js';

const run = promisify(execFile);
const inside = fileURLToPath(new URL('./loss-inside.js', import.meta.url));
const LONGEST_MS = 60_000;
const arrived = text('messages that have arrived or are lost', '已到达或丢失的消息');

/** A path that loses packets: TCP retransmits unacknowledged data, UDP is silent. */
export const loss: Phenomenon = {
  name: 'loss',
  title: text('A path that loses packets', '会丢包的路径'),
  chapter: text(
    'TCP keeps data in its buffer until the peer answers ack=1, and sends it again on ack=0; UDP gets no confirmation.',
    'tcp：对端返回 ack=1，发送端清理缓存，返回 ack=0 则重新发送；udp：对端不会返回确认信息。',
  ),
  async show({ signal, onProgress }) {
    const namespace = await usableNamespace();
    if ('reason' in namespace) return notShown(namespace.reason);
    try {
      const [command, ...words] = namespace.words;
      const running = run(command!, [...words, process.execPath, inside], {
        timeout: LONGEST_MS,
        maxBuffer: 1 << 26,
        ...(signal && { signal }),
      });
      // The program says on stderr how many messages have arrived.
      running.child.stderr?.on('data', (said: string) => {
        const done = said.match(/^\d+$/gm)?.at(-1);
        if (done !== undefined) onProgress?.({ done: Number(done), of: TCP_MESSAGES + UDP_MESSAGES, what: arrived });
      });
      const { stdout } = await running;
      return shown(JSON.parse(stdout, reviveBuffers) as LossReport);
    } catch (error) {
      const { stderr } = error as { stderr?: string };
      const why = stderr?.split('\n').find((line) => /\D/.test(line)) ?? String(error);
      return notShown(
        text(`the experiment in the network namespace failed: ${why}`, `网络命名空间里的实验失败：${why}`),
      );
    }
  },
};

/** How to run a program in a network of its own: as root, or as root of a new user namespace. */
async function usableNamespace(): Promise<{ words: string[] } | { reason: Text }> {
  for (const words of [
    ['unshare', '--net'],
    ['unshare', '--user', '--map-root-user', '--net'],
  ]) {
    const [command, ...options] = words;
    try {
      await run(command!, [...options, 'nft', 'list', 'tables']);
      return { words };
    } catch {
      // try the next way
    }
  }
  return {
    reason: text(
      'losses need a network namespace (unshare) and nftables (nft) on Linux, and this user may not use both here',
      '丢包实验需要 Linux 的网络命名空间（unshare）和 nftables（nft），当前用户在这里不能同时使用它们',
    ),
  };
}

function notShown(reason: Text): Shown {
  return {
    observations: [],
    notShown: reason,
    verdict: text('Nothing was lost here, so nothing is shown', '这里没有丢包，所以什么也没有展示'),
    explanation: text(
      'Nothing was lost here, so nothing is shown: a path without losses cannot show what happens to them. Loopback itself loses nothing.',
      '这里没有丢包，所以什么也没有展示：不丢包的路径看不到丢包之后的事。本机回环自己不会丢包。',
    ),
  };
}

function shown({ tcp, udp }: LossReport): Shown {
  const lost = udp.trace.writes.length - udp.trace.reads.length;
  const longest = longestGap(tcp.trace);
  return {
    observations: [
      {
        name: 'tcp',
        title: text(`TCP, ${LOSS_PERCENT} % of the packets dropped`, `TCP，丢弃 ${LOSS_PERCENT}% 的包`),
        trace: tcp.trace,
        facts: {
          droppedPackets: tcp.dropped,
          retransmittedSegments: tcp.retransmitted,
          whole: tcp.whole,
          longestGapMs: longest,
        },
      },
      {
        name: 'udp',
        title: text(`UDP, ${LOSS_PERCENT} % of the packets dropped`, `UDP，丢弃 ${LOSS_PERCENT}% 的包`),
        trace: udp.trace,
        transport: 'udp',
        facts: { droppedPackets: udp.dropped, lostMessages: lost },
      },
    ],
    verdict: text(
      `${tcp.whole ? 'TCP lost nothing' : 'TCP’s bytes arrived damaged'} and sent ${tcp.retransmitted} segments again; UDP lost ${lost} of ${udp.trace.writes.length} datagrams`,
      `TCP ${tcp.whole ? '什么也没丢' : '的字节到达时已损坏'}，重发了 ${tcp.retransmitted} 个报文段；UDP 的 ${udp.trace.writes.length} 个数据报丢了 ${lost} 个`,
    ),
    explanation: text(
      `Of TCP's packets ${tcp.dropped} were dropped, its kernel sent ${tcp.retransmitted} segments again without being asked by the program, and ${tcp.whole ? 'every byte arrived in order' : 'the bytes that arrived differ'} (the longest wait was ${longest} ms). ` +
        `Of ${udp.trace.writes.length} datagrams ${lost} were lost, and every send had reported success.`,
      `TCP 的包被丢弃了 ${tcp.dropped} 个，内核自己重发了 ${tcp.retransmitted} 个报文段，${tcp.whole ? '所有字节按顺序到达' : '到达的字节却不同'}（最长的等待是 ${longest} 毫秒）。` +
        `${udp.trace.writes.length} 个 UDP 数据报丢了 ${lost} 个，而每次发送都报告成功。`,
    ),
  };
}

function longestGap(trace: Trace): number {
  const times = trace.reads.map((read) => read.atMs);
  return Math.round(Math.max(0, ...times.slice(1).map((time, index) => time - times[index]!)));
}

function reviveBuffers(_: string, value: unknown): unknown {
  const { type, data } = (value ?? {}) as { type?: unknown; data?: unknown };
  return type === 'Buffer' && Array.isArray(data) ? Buffer.from(data as number[]) : value;
}

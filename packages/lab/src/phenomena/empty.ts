/** The phenomenon `empty`: an empty message. */
import { experiment } from '../experiment/experiment.js';
import { openDatagramPair } from '../wire/datagrams.js';
import { text } from '../lang.js';
import type { Phenomenon } from './phenomenon.js';

/** An empty message: possible as a datagram, impossible in a stream, possible with a framing. */
export const empty: Phenomenon = {
  name: 'empty',
  title: text('An empty message', '空消息'),
  chapter: text(
    'TCP cannot send an empty message, so a program must guard against one; with UDP even empty input is a message.',
    'tcp 收发的消息不能为空，需要空消息的处理机制，防止程序卡住；udp 即便输入的是空内容，也会封装上消息头。',
  ),
  async show({ segments = true }) {
    await using udp = await openDatagramPair();
    await udp.send(Buffer.alloc(0));
    await udp.received(1);
    const tcp = (await experiment({ messages: [''], segments })).trace;
    const framed = (await experiment({ messages: [''], framing: 'u32be', segments })).trace;
    return {
      observations: [
        {
          name: 'udp',
          title: text('UDP: one empty datagram', 'UDP：一个空数据报'),
          trace: udp.trace,
          transport: 'udp',
        },
        { name: 'tcp', title: text('TCP: a send of nothing', 'TCP：发送空内容'), trace: tcp },
        { name: 'framed', title: text('TCP with a length prefix (u32be)', 'TCP 加长度前缀（u32be）'), trace: framed },
      ],
      verdict: text(
        `An empty send brought ${reads(udp.trace.reads.length)} on UDP and ${reads(tcp.reads.length)} on TCP`,
        `空的发送在 UDP 上带来 ${udp.trace.reads.length} 次读取，在 TCP 上 ${tcp.reads.length} 次`,
      ),
      explanation: text(
        `The empty datagram arrived as ${reads(udp.trace.reads.length)} of 0 bytes, while the empty send on TCP brought ${reads(tcp.reads.length)} and a program waiting for it would wait on. ` +
          `With a length prefix the same empty message is ${framed.writes[0]!.length} bytes on the wire and comes out as ${framed.messages.length} message of ${framed.messages[0]?.length ?? 0} bytes.`,
        `空数据报带来 ${udp.trace.reads.length} 次长度为 0 的读取，而 TCP 上的空发送带来 ${tcp.reads.length} 次读取，等它的程序会一直等下去。` +
          `加上长度前缀，同样的空消息在线路上是 ${framed.writes[0]!.length} 个字节，接收方得到 ${framed.messages.length} 条长度为 ${framed.messages[0]?.length ?? 0} 的消息。`,
      ),
    };
  },
};

function reads(count: number): string {
  return count === 0 ? 'no read' : count === 1 ? 'one read' : `${count} reads`;
}

/** The phenomenon `udp`: datagrams keep their boundaries. */
import { openDatagramPair } from '../wire/datagrams.js';
import { text } from '../lang.js';
import { Trace } from '../wire/trace.js';
import type { Phenomenon } from './phenomenon.js';

/** UDP keeps every boundary, and refuses messages larger than a datagram. */
export const udp: Phenomenon = {
  name: 'udp',
  title: text('UDP keeps the boundaries', 'UDP 保留消息边界'),
  chapter: text('Under UDP packets never stick together.', '在 udp 下：在运行时永远不会发生粘包。'),
  async show() {
    await using small = await openDatagramPair();
    for (const message of ['hello', 'world', 'egon']) await small.send(Buffer.from(message));
    await small.received(3);

    await using large = await openDatagramPair();
    const { largest, error } = await largestDatagram();
    await large.send(Buffer.alloc(largest, 'x'));
    await large.received(1);
    const whole = large.trace.reads[0]?.length === largest;
    return {
      observations: [
        {
          name: 'three-datagrams',
          title: text('Three datagrams in a row', '连续三个数据报'),
          trace: small.trace,
          transport: 'udp',
        },
        {
          name: 'largest-datagram',
          title: text('The largest datagram that is accepted', '能够发送的最大数据报'),
          trace: large.trace,
          transport: 'udp',
          facts: { largest, tooLarge: largest + 1, error },
        },
      ],
      verdict: text(
        `${small.trace.writes.length} sends came out as ${small.trace.reads.length} reads of ${sizes(small.trace)} bytes`,
        `${small.trace.writes.length} 次发送得到 ${small.trace.reads.length} 次读取，长度分别是 ${sizes(small.trace)} 字节`,
      ),
      explanation: text(
        `${small.trace.writes.length} sends came out as ${small.trace.reads.length} reads of ${sizes(small.trace)} bytes: each datagram carries its own length, and a read returns exactly one. ` +
          `A datagram of ${largest} bytes ${whole ? 'arrived whole' : 'was sent but did not arrive whole'}; one byte more is refused with ${error}, so a larger message needs a protocol of its own.`,
        `${small.trace.writes.length} 次发送得到 ${small.trace.reads.length} 次读取，长度分别是 ${sizes(small.trace)} 字节：每个数据报自带长度，一次读取正好返回一个。` +
          `${largest} 字节的数据报${whole ? '完整到达' : '发出了但没有完整到达'}；再多一个字节系统就以 ${error} 拒绝，更大的消息需要自己的协议。`,
      ),
    };
  },
};

function sizes(trace: Trace): string {
  return trace.reads.map((read) => read.length).join(', ');
}

/** Finds the largest accepted size by bisection. */
async function largestDatagram(): Promise<{ largest: number; error: string }> {
  await using pair = await openDatagramPair();
  let largest = 1;
  let refused = 1 << 17;
  let error = '';
  while (refused - largest > 1) {
    const size = (largest + refused) >> 1;
    try {
      await pair.send(Buffer.alloc(size));
      largest = size;
    } catch (caught) {
      refused = size;
      error = (caught as NodeJS.ErrnoException).code ?? String(caught);
    }
  }
  return { largest, error };
}

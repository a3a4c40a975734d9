/** The phenomenon `leftover`: a read smaller than the message. */
import { experiment } from '../experiment/experiment.js';
import { text } from '../lang.js';
import type { Phenomenon } from './phenomenon.js';

/** Shows a read smaller than the message, and what later reads find. */
export const leftover: Phenomenon = {
  name: 'leftover',
  title: text('One send, and reads that are too small', '一次发送，读取太小'),
  chapter: text(
    'The receiver takes only a part; its next read begins with what was left in the buffer.',
    '服务端只收了一小部分，下次再收的时候还是从缓冲区拿上次遗留的数据。',
  ),
  async show({ segments = true }) {
    // The chapter's sizes; the last read then finds all the rest.
    const { trace } = await experiment({ messages: ['helloworldegon'], readSizes: [1, 5, 1, 1024], segments });
    const parts = trace.reads.map((read) => `"${read.bytes.toString()}"`).join(', ');
    const rest = trace.reads.slice(1).reduce((sum, read) => sum + read.length, 0);
    return {
      observations: [
        {
          name: 'small-reads',
          title: text('recv(1), recv(5), recv(1), recv(1024)', 'recv(1)、recv(5)、recv(1)、recv(1024)'),
          trace,
        },
      ],
      verdict: text(
        `One send of ${trace.writes[0]!.length} bytes came out as ${trace.reads.length} reads`,
        `一次发送的 ${trace.writes[0]!.length} 个字节分 ${trace.reads.length} 次读出`,
      ),
      explanation: text(
        `One send of ${trace.writes[0]!.length} bytes came out as ${trace.reads.length} reads: ${parts}. ` +
          `The first read left ${rest} bytes in the kernel's buffer; nothing is lost, but no read ends where a message ends.`,
        `一次发送的 ${trace.writes[0]!.length} 个字节分 ${trace.reads.length} 次读出：${parts}。` +
          `第一次读取在内核缓冲区里留下了 ${rest} 个字节；什么也没丢，但没有哪次读取正好停在消息的结尾。`,
      ),
    };
  },
};

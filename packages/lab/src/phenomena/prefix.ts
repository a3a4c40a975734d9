/** The phenomenon `prefix`: a length in front of each message. */
import { experiment } from '../experiment/experiment.js';
import { endianness } from 'node:os';
import { text } from '../lang.js';
import type { Phenomenon } from './phenomenon.js';

/** The chapter's second cure: four bytes of length, then the payload, in one send. */
export const prefix: Phenomenon = {
  name: 'prefix',
  title: text('The cure: a length in front', '解决办法：在前面加上长度'),
  chapter: text(
    'struct.pack("i", len) and the payload in one sendall: the receiver reads four bytes, then as many as they say.',
    '用 struct.pack("i", len) 和数据一起 sendall：接收方先读 4 个字节，再按它收数据。',
  ),
  async show({ segments = true }) {
    const messages = ['hello', 'world', 'egon'];
    const framing = endianness() === 'LE' ? 'i32le' : 'i32be'; // 'i' is the machine's own order
    const glued = (await experiment({ messages, framing, segments })).trace;
    const cut = (await experiment({ messages, framing, readSizes: [3], segments })).trace;
    const right = [glued, cut].every(
      (trace) => trace.messages.map((message) => message.bytes.toString()).join() === messages.join(),
    );
    return {
      observations: [
        { name: 'glued', title: text('All three in one read', '三条在一次读取里'), trace: glued },
        { name: 'cut', title: text('Reads of three bytes', '每次只读三个字节'), trace: cut },
      ],
      verdict: text(
        right
          ? `The same ${glued.messages.length} messages came out of ${glued.reads.length} read${glued.reads.length === 1 ? '' : 's'} and of ${cut.reads.length}`
          : 'The messages that came out differ from those that were sent',
        right
          ? `${glued.reads.length} 次读取和 ${cut.reads.length} 次读取得到同样的 ${glued.messages.length} 条消息`
          : '得到的消息和发送的不一样',
      ),
      explanation: text(
        `${glued.writes.length} messages came in ${glued.reads.length} read${glued.reads.length === 1 ? '' : 's'} once and in ${cut.reads.length} reads the other time, and ${right ? 'both times the same messages came out' : 'the messages that came out differ'}. ` +
          'The length travels with the message, so no read has to end where a message ends and no answer has to be waited for.',
        `${glued.writes.length} 条消息一次用 ${glued.reads.length} 次读取收完，一次用 ${cut.reads.length} 次，${right ? '两次得到的消息都一样' : '得到的消息却不同'}。` +
          '长度和消息一起走，读取不必正好停在消息的结尾，也不必等待对方的回答。',
      ),
    };
  },
};

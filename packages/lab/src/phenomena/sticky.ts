/** The phenomenon `sticky`: three sends that become one read. */
import { experiment, type ExperimentOptions } from '../experiment/experiment.js';
import { text } from '../lang.js';
import type { Trace } from '../wire/trace.js';
import type { Observation, Phenomenon } from './phenomenon.js';

const MESSAGES = ['hello', 'world', 'egon'];
const SPACING = 20;

/** Three small sends in one read: with Nagle, without, with a peer that delays its acknowledgements, with pauses. */
export const sticky: Phenomenon = {
  name: 'sticky',
  title: text('Three sends, one read', '三次发送，一次读取'),
  chapter: text(
    'Small sends shortly after each other are joined by Nagle’s algorithm, so the receiver gets them glued.',
    '间隔短、数据小的多次发送会被 Nagle 算法合到一起，接收方收到的就是粘包。',
  ),
  async show({ segments = true, onProgress }) {
    let done = 0;
    const observe = async (
      name: string,
      title: Observation['title'],
      options: Partial<ExperimentOptions>,
    ): Promise<Observation> => {
      onProgress?.({ done: done++, of: 4, what: title });
      return { name, title, trace: (await experiment({ messages: MESSAGES, segments, ...options })).trace };
    };
    const nagle = await observe('nagle', text('Nagle on, a fresh connection', '启用 Nagle，新连接'), {});
    const noDelay = await observe('no-delay', text('Nagle off (TCP_NODELAY)', '关闭 Nagle（TCP_NODELAY）'), {
      noDelay: true,
    });
    const lateAck = await observe(
      'nagle-late-ack',
      text('Nagle on, the peer delays its acknowledgement', '启用 Nagle，对端延迟确认'),
      { warmUp: 5 },
    );
    const spaced = await observe('spaced', text(`${SPACING} ms between the sends`, `每次发送间隔 ${SPACING} 毫秒`), {
      delayMs: SPACING,
    });
    return {
      observations: [nagle, noDelay, lateAck, spaced],
      verdict: conclude(nagle.trace),
      explanation: explain(nagle.trace, noDelay.trace, lateAck.trace),
    };
  },
};

function conclude(nagle: Trace) {
  const seen = crossed(nagle);
  return text(
    `${count(nagle.writes.length, 'send')} came out as ${count(nagle.reads.length, 'read')}` +
      (seen === undefined ? '' : `, though ${count(seen, 'segment')} crossed`),
    `${nagle.writes.length} 次发送由 ${nagle.reads.length} 次读取收完` +
      (seen === undefined ? '' : `，而线路上有 ${seen} 个报文段`),
  );
}

function explain(nagle: Trace, noDelay: Trace, lateAck: Trace) {
  const seen = crossed(nagle) ?? crossed(noDelay);
  const wait = lateAck.reads.at(-1)!.atMs - lateAck.reads[0]!.atMs;
  return text(
    `${nagle.writes.length} sends came out of ${count(nagle.reads.length, 'read')} with Nagle on and ${count(noDelay.reads.length, 'read')} with it off` +
      (seen === undefined ? '' : `, though ${count(seen, 'segment')} crossed`) +
      ': a read takes whatever lies in the receiver’s buffer, and TCP keeps no record of the sends. ' +
      (lateAck.reads.length > 1
        ? `Nagle’s own work shows when the peer delays its acknowledgement: the first send left at once, the rest waited ${Math.round(wait)} ms for it and left together.`
        : 'Nagle’s own work did not show this time: the peer acknowledged at once.'),
    `启用 Nagle 时 ${nagle.writes.length} 次发送由 ${nagle.reads.length} 次读取收完，关闭时由 ${noDelay.reads.length} 次` +
      (seen === undefined ? '' : `，而线路上有 ${seen} 个报文段`) +
      '：读取拿走接收缓冲区里现有的一切，TCP 不记录发送的界限。' +
      (lateAck.reads.length > 1
        ? `对端延迟确认时才看得到 Nagle 本身：第一次发送立即出发，其余的等了 ${Math.round(wait)} 毫秒的确认，再合成一段发出。`
        : '这一次没有看到 Nagle 本身的作用：对端立即确认了。'),
  );
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}

function crossed({ segments }: Trace): number | undefined {
  return segments && segments.source !== 'not seen' ? segments.count : undefined;
}

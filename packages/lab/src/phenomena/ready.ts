/** The phenomenon `ready`: a length, then a wait for `ready`. */
import { openDialogue } from '../experiment/dialogue.js';
import { lengthReady } from '../historical/length-ready.js';
import { text } from '../lang.js';
import type { Phenomenon } from './phenomenon.js';

/** The chapter's first cure: send the length, wait for `ready`, send the answer. */
export const ready: Phenomenon = {
  name: 'ready',
  title: text('The first cure: a length, then wait for “ready”', '第一种解决办法：先发长度，等待 ready'),
  chapter: text(
    'The server sends the length, waits in recv for the client’s “ready”, and only then sends the answer.',
    '服务端先把长度发给客户端，卡着一个 recv 等客户端的 ready 消息，然后才发送数据。',
  ),
  async show() {
    const answer = 'helloworldegon'.repeat(100);
    await using dialogue = await openDialogue(lengthReady, () => answer);
    const got = await dialogue.ask('ls');
    const { up, down } = dialogue;
    const whole = got.toString() === answer;
    return {
      observations: [
        {
          name: 'server-to-client',
          title: text('Server to client', '服务端到客户端'),
          trace: down,
          back: up,
          facts: { whole },
        },
        { name: 'client-to-server', title: text('Client to server', '客户端到服务端'), trace: up },
      ],
      verdict: text(
        `An answer of ${got.length} bytes came out ${whole ? 'whole' : 'damaged'}, after ${down.writes.length} sends there and ${up.writes.length} back`,
        `${got.length} 字节的结果${whole ? '完整' : '不完整'}地收到，服务端发了 ${down.writes.length} 次，客户端 ${up.writes.length} 次`,
      ),
      explanation: text(
        `The client knew from “${down.writes[0]!.bytes.toString()}” how much to read, and the answer of ${got.length} bytes came out ${whole ? 'whole' : 'damaged'}. ` +
          `It took ${down.writes.length} sends there and ${up.writes.length} back, each waiting for the one before, so every message crosses the network twice there and twice back.`,
        `客户端从“${down.writes[0]!.bytes.toString()}”知道要收多少，${got.length} 字节的结果${whole ? '完整' : '不完整'}地收到了。` +
          `服务端发了 ${down.writes.length} 次，客户端发了 ${up.writes.length} 次，每一次都要等前一次，所以每条消息要在网络上来回两趟。`,
      ),
    };
  },
};

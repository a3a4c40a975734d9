/** The command server's protocol over UDP: one datagram for the command, one for the answer. */
import { createSocket } from 'node:dgram';
import { encodeText, type Encoding } from '../encoding.js';
import { NOTHING_SAID } from './protocol.js';

/** The capacity of one datagram over IPv4: 65,535 minus the headers of IP (20) and UDP (8). */
export const LARGEST_DATAGRAM = 65_507;

/** A command with more output is ended: a datagram holds only the beginning, and the rest would merely be counted. */
const MOST_OUTPUT = 1 << 24;

/**
 * The answer to one command as one datagram. A longer answer is cut, and its last line says so: a datagram cannot
 * continue in the next one, and the client would take the beginning for the whole answer.
 */
export async function datagramAnswer(output: AsyncIterable<Buffer>, encoding: Encoding): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const piece of output) {
    if (length <= LARGEST_DATAGRAM) pieces.push(piece);
    length += piece.length;
    if (length > MOST_OUTPUT) break;
  }
  if (length === 0) return encodeText(NOTHING_SAID, encoding);
  const head = Buffer.concat(pieces);
  if (length <= LARGEST_DATAGRAM) return head;
  const whole = length > MOST_OUTPUT ? `more than ${MOST_OUTPUT}` : String(length);
  const note = Buffer.from(`\nwirelab: cut, the answer has ${whole} bytes and a datagram holds ${LARGEST_DATAGRAM}\n`);
  let end = LARGEST_DATAGRAM - note.length;
  // Do not cut inside a UTF-8 character: go back over its continuation bytes.
  for (let back = 0; back < 3 && (head[end]! & 0xc0) === 0x80; back++) end--;
  return Buffer.concat([head.subarray(0, end), note]);
}

/**
 * Sends one command as a datagram and waits for the datagram that answers.
 * @throws Error when none arrives within `timeoutMs`: UDP sends nothing again, and does not say what was lost
 */
export async function callUdp(host: string, port: number, command: string, timeoutMs: number): Promise<Buffer> {
  const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
  try {
    return await new Promise<Buffer>((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(
          new Error(
            `no answer from ${host}:${port} within ${timeoutMs / 1000} s: UDP does not say whether the command arrived`,
          ),
        );
      }, timeoutMs);
      socket.on('message', (answer) => {
        clearTimeout(timer);
        resolve(answer);
      });
      const fail = (error: Error) => {
        clearTimeout(timer);
        reject(error);
      };
      socket.on('error', fail);
      // Connected, so that only datagrams of this server arrive, and a closed port gives an error instead of silence.
      socket.connect(port, host, (error?: Error) => {
        if (error) fail(error);
        else socket.send(command, (error) => error && fail(error));
      });
    });
  } finally {
    socket.close();
  }
}

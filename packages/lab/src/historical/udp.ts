/** The command server's protocol over UDP: one datagram there, one back. */
import { createSocket } from 'node:dgram';
import { encodeText, type Encoding } from '../encoding.js';
import { NOTHING_SAID } from './protocol.js';

/** What one datagram can hold over IPv4: 65,535 less the headers of IP (20) and UDP (8). */
export const LARGEST_DATAGRAM = 65_507;

/** A command that says more than this is ended: a datagram holds the beginning only, and the rest would just be counted. */
const MOST_OUTPUT = 1 << 24;

/**
 * The answer to one command as one datagram. What does not fit is cut off, and the last line says so: a datagram cannot
 * go on in the next one, and the client would take the beginning for the whole answer.
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
  // Not inside a UTF-8 character: back over its continuation bytes.
  for (let back = 0; back < 3 && (head[end]! & 0xc0) === 0x80; back++) end--;
  return Buffer.concat([head.subarray(0, end), note]);
}

/**
 * Sends one command as a datagram and waits for the datagram that answers.
 * @throws Error when none came within `timeoutMs`: UDP sends nothing again, and does not say what was lost
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
      // Connected, so that only this server's datagrams come in, and a closed port is an error instead of silence.
      socket.connect(port, host, (error?: Error) => {
        if (error) fail(error);
        else socket.send(command, (error) => error && fail(error));
      });
    });
  } finally {
    socket.close();
  }
}

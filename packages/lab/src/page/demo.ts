/** A server and a client for visitors of the page who have none. */
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import { connect } from 'node:net';
import { once } from 'node:events';
import { parseFraming } from '@sendall/framing';
import { MessageRequestHandler, serve, type Server } from '@sendall/socketserver';
import { formatAddress, type Address } from '../address.js';

const FRAMING = 'u32be';

/** Echoes each message: a server for visitors who have none. */
class Echo extends MessageRequestHandler {
  static override readonly framing = FRAMING;

  override onMessage(message: Buffer): void {
    this.send(message);
  }
}

export async function serveDemo(): Promise<{ server: Server; address: Address }> {
  const server = await serve({ host: '127.0.0.1', port: 0 }, Echo, { maxConnections: 64 });
  const { port } = server.serverAddress;
  return { server, address: { host: '127.0.0.1', port } };
}

/** The answers that the demonstration's client received. */
export interface Traffic {
  readonly sent: readonly string[];
  readonly received: readonly string[];
  readonly reads: number;
  /** The difference from a plain exchange, if any. */
  readonly trouble?: string;
}

const TEXTS = ['hello', 'world', 'egon', 'a longer message that is cut in the middle', '', 'the last one'];
const LONGEST_MS = 15_000;

/** Sends a few messages through a proxy to the echo server, some glued and one cut, and collects the answers. */
export async function demoTraffic(address: Address): Promise<Traffic> {
  const parsed = parseFraming(FRAMING);
  const [first, second, third, long, empty, last] = TEXTS.map((text) => parsed.encoder().encode(text)) as [
    Buffer,
    Buffer,
    Buffer,
    Buffer,
    Buffer,
    Buffer,
  ];
  const cut = 20;
  const writes = [
    Buffer.concat([first, second, third, long.subarray(0, cut)]),
    long.subarray(cut),
    Buffer.concat([empty, last]),
  ];
  const received: string[] = [];
  let readCount = 0;
  let trouble: string | undefined;
  const socket = connect({ ...address, noDelay: true });
  socket.on('error', (error: NodeJS.ErrnoException) => (trouble ??= error.code ?? error.message));
  socket.setTimeout(LONGEST_MS, () => socket.destroy(new Error('no answer for a long time')));
  const decoder = parsed.decoder();
  socket.on('data', (chunk) => {
    readCount++;
    try {
      received.push(...decoder.decode(chunk).map((message) => message.toString()));
    } catch (error) {
      trouble ??= error instanceof Error ? error.message : String(error);
      socket.destroy();
    }
    if (received.length === TEXTS.length) socket.end();
  });
  const closed = once(socket, 'close').catch(() => {});
  await Promise.race([once(socket, 'connect'), closed]).catch(() => {});
  for (const write of writes) {
    if (!socket.writable) break;
    socket.write(write);
    await sleep(40);
    // Behind the loop's reading: this process may have stood still, and the proxy is a part of it.
    await turn();
  }
  await closed;
  if (received.length < TEXTS.length) trouble ??= `the connection to ${formatAddress(address)} ended early`;
  return { sent: TEXTS, received, reads: readCount, ...(trouble !== undefined && { trouble }) };
}

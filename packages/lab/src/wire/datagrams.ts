/** A pair of UDP sockets on loopback, with a trace. */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { Trace } from './trace.js';

/** Two UDP sockets on loopback; datagrams sent by one and received by the other are traced. */
export interface DatagramPair extends AsyncDisposable {
  readonly trace: Trace;
  readonly port: number;
  /** Sends one datagram; rejects with the system's error (EMSGSIZE) when it is too large. */
  send(bytes: Uint8Array): Promise<void>;
  /** Waits until `count` datagrams have arrived in total, or none arrives for `quietMs`. */
  received(count: number, quietMs?: number): Promise<void>;
}

export async function openDatagramPair(): Promise<DatagramPair> {
  const receiver = createSocket('udp4');
  const sender = createSocket('udp4');
  receiver.bind(0, '127.0.0.1');
  await once(receiver, 'listening');
  const { port } = receiver.address();
  const trace = new Trace();
  let notify: (() => void) | undefined;
  receiver.on('message', (datagram) => {
    trace.read(datagram);
    trace.message(datagram); // for UDP a read is a message
    notify?.();
  });
  return {
    trace,
    port,
    async send(bytes) {
      await transmit(sender, bytes, port);
      trace.write(bytes);
    },
    async received(count, quietMs = 300) {
      while (trace.reads.length < count) {
        const came = await new Promise<boolean>((resolve) => {
          // Behind the loop's reading: datagrams may have come while this process stood still.
          const timer = setTimeout(() => setImmediate(() => resolve(false)), quietMs);
          notify = () => {
            clearTimeout(timer);
            resolve(true);
          };
        });
        if (!came) return;
      }
    },
    async [Symbol.asyncDispose]() {
      const closed = Promise.all([once(sender, 'close'), once(receiver, 'close')]);
      sender.close();
      receiver.close();
      await closed;
    },
  };
}

function transmit(socket: Socket, bytes: Uint8Array, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.send(bytes, port, '127.0.0.1', (error) => (error ? reject(error) : resolve()));
  });
}

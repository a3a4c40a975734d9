/** A TCP connection on loopback with both ends in this process. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { Receiver } from './receiver.js';

export interface PairOptions {
  /** Turns Nagle's algorithm off on the sending side. @default false (as in the tutorial) */
  noDelay?: boolean;
  /** Most bytes each read of the receiver may return, the last one for all further reads. @default [1024] */
  readSizes?: readonly number[];
  /** A detour: given the receiver's port, returns the port to connect to (a proxy's). */
  via?: (port: number) => Promise<number>;
}

/** A real TCP connection over loopback with both ends in this process. */
export interface Pair extends AsyncDisposable {
  readonly sender: Socket;
  readonly receiver: Receiver;
  readonly port: number;
}

/** Listens on a free port of 127.0.0.1, connects to it, and returns both ends. */
export async function openPair(options: PairOptions = {}): Promise<Pair> {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const sender = connect({
    host: '127.0.0.1',
    port: options.via ? await options.via(port) : port,
    noDelay: options.noDelay ?? false,
    allowHalfOpen: true,
  });
  sender.on('error', () => {}); // a reset at the end of an experiment is expected
  await once(sender, 'connect');
  const [socket] = await accepted;
  server.close(); // accept no more; 'close' is not emitted, as its socket has lost its handle
  const receiver = new Receiver(socket, options.readSizes ?? [1024]);
  return {
    sender,
    receiver,
    port,
    async [Symbol.asyncDispose]() {
      const open = [sender, receiver.socket].filter((end) => !end.closed);
      const closed = Promise.all(open.map((end) => once(end, 'close')));
      sender.destroy();
      receiver.socket.destroy();
      await closed;
    },
  };
}

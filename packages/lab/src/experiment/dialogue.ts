/** Questions and answers in a historical protocol over real sockets, with every read and write traced. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import type { Protocol } from '../historical/protocol.js';
import { Line } from '../historical/line.js';
import { LARGEST_LENGTH } from '../historical/struct-i.js';
import { reads } from '../wire/reads.js';
import { Trace } from '../wire/trace.js';

/** A client and a server of a historical protocol over real sockets, with every read and write traced. */
export interface Dialogue extends AsyncDisposable {
  /** Traffic from the client to the server. */
  readonly up: Trace;
  /** Traffic from the server to the client. */
  readonly down: Trace;
  /** Sends one command; resolves with the whole answer. */
  ask(command: string): Promise<Buffer>;
  /** Forgets the trace so far and restarts the clock. */
  restart(): void;
}

/**
 * @param answer the server's answer; it runs nothing
 * @param via a detour: given the server's port, returns the port to connect to
 */
export async function openDialogue(
  protocol: Protocol,
  answer: (command: string) => string,
  via?: (port: number) => Promise<number>,
): Promise<Dialogue> {
  const up = new Trace();
  const down = new Trace();
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    protocol
      .serve(traced(socket, up, down), (command) => whole(answer(command)), {
        encoding: 'utf-8',
        maxAnswer: LARGEST_LENGTH,
      })
      .catch(() => socket.destroy())
      .finally(() => socket.end());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const client = connect({ host: '127.0.0.1', port: via ? await via(port) : port, noDelay: true });
  await once(client, 'connect');
  const restart = () => {
    for (const trace of [up, down]) trace.restart();
    down.startedAt = up.startedAt;
  };
  restart();
  const line = traced(client, down, up);
  return {
    up,
    down,
    async ask(command) {
      const parts: Buffer[] = [];
      for await (const part of protocol.call(line, command, false)) parts.push(part);
      const whole = Buffer.concat(parts);
      // What stands before it is the protocol's own.
      const last = down.reads.at(-1);
      down.message(whole, last && last.offset + last.length - whole.length);
      return whole;
    },
    restart,
    async [Symbol.asyncDispose]() {
      client.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

/** A line with traced reads and writes. */
function traced(socket: Socket, reading: Trace, writing: Trace): Line {
  const incoming = reads(socket);
  return new Line(
    async () => {
      const next = await incoming.next();
      if (next.done) return null;
      reading.read(next.value);
      return next.value;
    },
    (bytes) => {
      writing.write(bytes);
      return new Promise((resolve, reject) => socket.write(bytes, (error) => (error ? reject(error) : resolve())));
    },
  );
}

async function* whole(answer: string): AsyncGenerator<Buffer> {
  yield Buffer.from(answer);
}

/** A proxy that passes bytes on as it reads them, and applies faults on request. */
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { formatAddress, peerAddress, type Address } from '../address.js';
import type { CapturedEvent } from '../capture/connections.js';
import type { Direction, Fault } from '../faults/fault.js';
import type { DirectedFaults } from '../faults/index.js';
import { seededRandom } from '../faults/random.js';
import { reads } from '../wire/reads.js';
import { Course, Turns } from './course.js';

/** An event of a proxy's connections, or of those in a capture. */
export type ProxyEvent =
  | {
      readonly type: 'open';
      readonly connection: number;
      readonly client: string;
      /** What follows is of connections in a capture. */
      readonly server?: string;
      readonly protocol?: 'tcp' | 'udp';
      /** The capture began later than the connection. */
      readonly midway?: true;
    }
  | {
      readonly type: 'read';
      readonly connection: number;
      readonly direction: Direction;
      readonly bytes: Buffer;
      /** In a capture: no read, but what the wire had. */
      readonly seen?: 'segment' | 'datagram';
    }
  | {
      /** What became of the bytes read, after the faults. */
      readonly type: 'write';
      readonly connection: number;
      readonly direction: Direction;
      readonly bytes: Buffer;
    }
  | Extract<CapturedEvent, { type: 'wire' }>
  | { readonly type: 'end'; readonly connection: number; readonly direction: Direction }
  | {
      readonly type: 'fault';
      readonly connection: number;
      readonly direction: Direction;
      readonly fault: string;
      readonly what: string;
      readonly afterBytes: number;
    }
  | {
      /** `up`, `down`: bytes written. They differ from the bytes read if a fault or an end intervened. */
      readonly type: 'close';
      readonly connection: number;
      readonly up: number;
      readonly down: number;
      readonly error?: string;
      /** In a capture: who reset it. */
      readonly reset?: Direction;
    }
  | { readonly type: 'refused'; readonly client: string; readonly reason: string };

/** The proxy's address, its target, and its effects on the traffic. */
export interface ProxyOptions {
  readonly listen: Address;
  readonly to: Address;
  /** The faults applied to the bytes, in this order, of both directions or of each. @default [] (they pass unaltered) */
  readonly faults?: readonly Fault[] | DirectedFaults;
  /** The seed of the faults' randomness. @default 1 */
  readonly seed?: number;
  /** Most simultaneous connections; more are closed immediately and reported. @default 1024 */
  readonly maxConnections?: number;
  readonly onEvent?: (event: ProxyEvent) => void;
}

/** A proxy between clients and a server. */
export interface Proxy extends AsyncDisposable {
  readonly address: Address;
  /**
   * Replaces the faults, also of connections that are open: what the old ones hold passes at once, what comes later
   * passes through the new ones, which begin anew.
   */
  readonly setFaults: (faults: readonly Fault[] | DirectedFaults) => void;
  /** Ends every connection and stops listening. */
  readonly close: () => Promise<void>;
}

/**
 * Passes bytes between clients and a server: each read of one side is written unchanged to the other, a side that does
 * not read holds the other back, and each end, half-close and reset is passed on as such.
 * @throws Error of the system when it cannot listen
 */
export async function startProxy(options: ProxyOptions): Promise<Proxy> {
  const { maxConnections = 1024, onEvent = () => {} } = options;
  const course = new Course(directed(options.faults ?? []));
  const open = new Set<Socket>();
  const relays = new Set<Promise<void>>();
  let count = 0;
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (client) => {
    if (open.size >= maxConnections * 2) {
      onEvent({ type: 'refused', client: peerAddress(client), reason: `${maxConnections} connections are open` });
      client.destroy();
      return;
    }
    const connection = ++count;
    const target = connect({ ...options.to, allowHalfOpen: true, noDelay: true });
    for (const socket of [client, target]) {
      open.add(socket);
      socket.once('close', () => open.delete(socket));
    }
    const relayed = relay(client, target, connection, options, course, onEvent);
    relays.add(relayed);
    void relayed.finally(() => relays.delete(relayed));
  });
  server.listen(options.listen);
  await once(server, 'listening');
  const address = addressOf(server, options.listen);
  const close = async () => {
    const closed = server.listening ? once(server, 'close') : undefined;
    server.close();
    for (const socket of open) socket.destroy();
    course.end();
    await closed;
    // Those who record hear of each end.
    await Promise.all(relays);
  };
  const setFaults = (faults: readonly Fault[] | DirectedFaults) => course.change(directed(faults));
  return { address, setFaults, close, [Symbol.asyncDispose]: close };
}

async function relay(
  client: Socket,
  target: Socket,
  connection: number,
  { seed = 1, to }: ProxyOptions,
  course: Course,
  onEvent: (event: ProxyEvent) => void,
): Promise<void> {
  const bytes = { up: 0, down: 0 };
  let failure: string | undefined;
  const closed = Promise.all([once(client, 'close'), once(target, 'close')]).catch(() => {});
  client.on('error', () => {});
  target.on('error', () => {});
  onEvent({ type: 'open', connection, client: peerAddress(client) });

  const fail = (error: unknown) => {
    failure ??= (error as NodeJS.ErrnoException).code ?? String(error);
    reset();
  };
  const reset = () => {
    for (const socket of [client, target]) if (!socket.destroyed) socket.resetAndDestroy();
  };
  const cut = () => {
    client.destroy();
    target.destroy();
  };

  const pass = async (direction: Direction, from: Socket, into: Socket) => {
    async function* source() {
      for await (const chunk of reads(from)) {
        onEvent({ type: 'read', connection, direction, bytes: chunk });
        yield chunk;
      }
    }
    const turns = new Turns(source(), course);
    do {
      const { version } = course;
      const passed = bytes[direction]; // these faults count from here
      let pieces: AsyncIterable<Buffer> = turns.turn(version);
      for (const [index, fault] of course.faults[direction].entries()) {
        const name = `${fault.name} ${connection} ${direction}${version === 0 ? '' : ` ${version}`}`;
        if (fault.share !== undefined && seededRandom(seed, `share ${index} ${name}`)() >= fault.share) continue;
        const random = seededRandom(seed, name);
        const note = (what: string, afterBytes: number) =>
          onEvent({ type: 'fault', connection, direction, fault: fault.name, what, afterBytes: passed + afterBytes });
        const wait = (ms: number) => course.wait(ms, version);
        pieces = fault.stage({ direction, random, note, cut, reset, wait })(pieces);
      }
      for await (const piece of pieces) {
        await write(into, piece);
        bytes[direction] += piece.length;
        onEvent({ type: 'write', connection, direction, bytes: piece });
      }
    } while (turns.changed);
    turns.stop();
    if (from.readableEnded) onEvent({ type: 'end', connection, direction });
    from.resume(); // a fault may end a direction before its sender does: drop the rest
    into.end();
  };

  try {
    await new Promise<void>((resolve, reject) =>
      target
        .once('connect', resolve)
        .once('error', reject)
        .once('close', () => reject(new Error('closed'))),
    );
    await Promise.all([pass('up', client, target), pass('down', target, client)].map((side) => side.catch(fail)));
  } catch (error) {
    failure = `cannot reach ${formatAddress(to)}: ${(error as NodeJS.ErrnoException).code ?? String(error)}`;
    reset();
  }
  await closed;
  onEvent({ type: 'close', connection, ...bytes, ...(failure !== undefined && { error: failure }) });
}

function directed(faults: readonly Fault[] | DirectedFaults): DirectedFaults {
  return 'up' in faults ? faults : { up: faults, down: faults };
}

/** Resolves when the kernel has the bytes, which also holds the reading side back. */
function write(socket: Socket, piece: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    if (socket.destroyed) reject(new Error('closed'));
    else socket.write(piece, (error) => (error ? reject(error) : resolve()));
  });
}

function addressOf(server: Server, asked: Address): Address {
  const bound = server.address();
  if (bound === null || typeof bound === 'string') return asked;
  return { host: bound.address, port: bound.port };
}

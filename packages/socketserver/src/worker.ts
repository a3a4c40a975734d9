/**
 * What runs in a thread or child process: an inline server that gets its connections from outside, or accepts them
 * with a descriptor of its own, and tells the server that started it what happens.
 */
import { createServer, Socket, type Server as NetServer } from 'node:net';
import { parentPort, receiveMessageOnPort } from 'node:worker_threads';
import type { Connection } from './connection/connection.js';
import { Datagram, type DatagramSocket } from './datagram.js';
import { SocketServerError } from './errors.js';
import type { EventName } from './events.js';
import { listenOnHandle } from './node-internals.js';
import { handlerClassOf } from './serve.js';
import type { BaseServer } from './server/server.js';
import type { WorkerSide } from './server/worker-side.js';
import { serverClassFor } from './servers.js';
import type { Relay } from './relay.js';
import type { Request } from './server-interface.js';
import { SharedPlaces } from './admission/shared-places.js';
import { enterWorker, whileLoading } from './concurrency/worker-context.js';
import {
  errorFrom,
  errorNote,
  type Acceptance,
  type Export,
  type FromWorker,
  type RequestNote,
  type ToWorker,
  type WorkerStart,
} from './concurrency/worker-messages.js';
import { duplicateListener } from './concurrency/own-descriptor.js';

enterWorker();

function post(message: FromWorker, sent?: () => void): void {
  if (parentPort !== null) {
    parentPort.postMessage(message);
    sent?.();
  } else if (process.connected) {
    process.send!(message, undefined, undefined, () => sent?.());
  }
}

function noteOf(request: Request): RequestNote {
  return 'local' in request
    ? { id: request.id, peer: request.peer, local: request.local }
    : { id: idOf(request), peer: request.peer };
}

const datagramIds = new WeakMap<Datagram, number>();
function idOf(request: Request): number {
  return request instanceof Datagram ? (datagramIds.get(request) ?? 0) : request.id;
}

/** Calls that the main thread answers. */
class Calls<T> {
  readonly #open = new Map<number, (answer: T) => void>();
  #last = 0;
  make(send: (call: number) => void): Promise<T> {
    return new Promise((resolve) => {
      const call = ++this.#last;
      this.#open.set(call, resolve);
      send(call);
    });
  }
  answer(call: number, answer: T): void {
    this.#open.get(call)?.(answer);
    this.#open.delete(call);
  }
}

const verifications = new Calls<boolean>();
const sendings = new Calls<Error | undefined>();

/** Answers of datagram handlers leave from the main thread's socket, so that they carry its address. */
const replies: DatagramSocket = {
  async send(data, to) {
    const error = await sendings.make((call) => post({ type: 'send', call, data, to }));
    if (error !== undefined) throw error;
  },
};

async function load({ module, name }: Export): Promise<unknown> {
  const exports = (await whileLoading(() => import(module))) as Record<string, unknown>;
  const wanted = exports[name] ?? (exports['default'] as { name?: string } | undefined);
  if (typeof wanted === 'function' && (exports[name] !== undefined || wanted.name === name)) return wanted;
  throw new SocketServerError(
    'INVALID_HANDLER',
    `${module} exports no "${name}": threads and processes load it from there`,
  );
}

let server: BaseServer | undefined;
let side: WorkerSide | undefined;
/** What comes early waits until the server is there. */
let begun: Promise<void> = Promise.resolve();
/** Options that were changed while the handler's module was loaded. */
let changed: Record<string, unknown> = {};
let wanted = false;
let wasted = false;

/**
 * A connection that is accepted here can overtake messages of the main thread. Messages sent before it arrived are read
 * first, so that it gets the options of that moment.
 */
function catchUp(): void {
  for (let mail = receiveMessageOnPort(parentPort!); mail !== undefined; mail = receiveMessageOnPort(parentPort!))
    heard(mail.message as ToWorker);
}

function relayFor(start: WorkerStart): Relay {
  const fed = start.places === undefined;
  return {
    wants: (event: EventName) =>
      event === 'connection' || event === 'close' ? wanted && !fed : event !== 'drain' && event !== 'listening',
    ...(parentPort !== null && !fed && { catchUp }),
    event(event, info) {
      const { connection: _, error, ...rest } = info as { connection?: unknown; error?: unknown };
      post({ type: 'event', event, info: { ...rest, ...(error !== undefined && { error: errorNote(error) }) } });
    },
    closed(connection: Connection) {
      if (!fed) return;
      const { id, peer, local, reason = 'end', failure, stats } = connection;
      const { bytesRead, bytesWritten, durationMs } = stats;
      const error = failure && errorNote(failure);
      post({ type: 'closed', id, peer, local, reason, bytesRead, bytesWritten, durationMs, ...(error && { error }) });
    },
    uncounted: (connection) => post({ type: 'uncounted', id: connection.id }),
    established: (connection) => post({ type: 'established', id: connection.id }),
    ...(!fed && { makeRoom: () => post({ type: 'room' }) }),
    done: (request) => post({ type: 'done', id: idOf(request) }),
    error: (error, request) =>
      post({ type: 'error', error: errorNote(error), ...(request && { request: noteOf(request) }) }),
    ...(start.verify && {
      verify: (request: Request) =>
        verifications.make((call) => post({ type: 'verify', call, request: noteOf(request) })),
    }),
    shutdown(timeout) {
      post({ type: 'shutdown', ...(timeout !== undefined && { timeout }) });
      return server!.drained;
    },
  };
}

async function begin(start: WorkerStart): Promise<void> {
  try {
    const handlerClass = handlerClassOf((await load(start.handler)) as never);
    const serverClass = start.server === undefined ? serverClassFor(start.transport) : await load(start.server);
    const Server = serverClass as new (address: unknown, handler: unknown, options: object) => BaseServer;
    // A thread that ends still accepts until its loop is gone, and what it accepts then would stay open for ever.
    process.on('exit', () => void server?.transport.close());
    server = new Server(start.address, handlerClass, { ...start.options, ...changed, concurrency: 'inline' });
    const places = start.places === undefined ? undefined : new SharedPlaces(start.places, start.worker);
    side = server.becomeWorker(relayFor(start), start.address, places);
    await accept(start.acceptance);
    post({ type: 'ready' });
  } catch (error) {
    post({ type: 'failed', error: errorNote(error) });
  }
}

async function accept(acceptance: Acceptance): Promise<void> {
  if (acceptance.by === 'feed') return;
  if (acceptance.by === 'descriptor') {
    const { fd, own, backlog } = acceptance;
    if (own) {
      // Before it is: told too late it could be closed twice.
      post({ type: 'took', fd });
      await listenWith((listener) => listener.listen({ fd, backlog }));
    } else {
      const handle = await duplicateListener(fd, backlog);
      post({ type: 'took', fd });
      await listenWith((listener) => listenOnHandle(listener, handle, backlog));
    }
    return;
  }
  const { host, port } = acceptance.address;
  const listener = createServer({ pauseOnConnect: true, allowHalfOpen: true });
  await new Promise<void>((resolve, reject) => {
    listener.once('error', reject);
    listener.listen({ host, port, backlog: acceptance.backlog, exclusive: true, reusePort: true } as object, resolve);
  });
  listener.removeAllListeners('error');
  side!.acceptFrom(listener);
}

async function listenWith(begin: (listener: NetServer) => void): Promise<void> {
  const listener = createServer({ pauseOnConnect: true, allowHalfOpen: true });
  await new Promise<void>((resolve, reject) => {
    listener.once('error', reject);
    listener.once('listening', () => {
      listener.off('error', reject);
      resolve();
    });
    begin(listener);
    // Not later: it accepts from the next turn of the loop on.
    side!.acceptFrom(listener);
  });
}

async function resume(acceptance: Acceptance | undefined): Promise<void> {
  if (acceptance !== undefined) await accept(acceptance);
  // A worker that was started in the meantime was never suspended.
  if (server!.status === 'suspended') await server!.resume();
  post({ type: 'door' });
}

async function end(timeout: number): Promise<void> {
  if (server === undefined || side === undefined) process.exit(0);
  if (wasted) {
    void side.drain(timeout);
    return;
  }
  wasted = true;
  const report = await side.drain(timeout);
  post({ type: 'drained', report, info: server.info() }, () => process.exit(0));
}

function heard(message: ToWorker, socket?: Socket): void {
  switch (message.type) {
    case 'start':
      begun = begin(message.start);
      break;
    case 'connection': {
      post({ type: 'got', id: message.id });
      const raw =
        message.fd === undefined
          ? socket
          : new Socket({ fd: message.fd, readable: true, writable: true, allowHalfOpen: true });
      if (raw !== undefined) {
        raw.allowHalfOpen = true;
        raw.pause();
      }
      side?.feedConnection(message.id, raw);
      break;
    }
    case 'datagram': {
      const { data, peer, truncated, id } = message;
      const datagram = new Datagram(
        Buffer.from(data.buffer, data.byteOffset, data.byteLength),
        peer,
        truncated,
        replies,
      );
      datagramIds.set(datagram, id);
      side?.feedDatagram(datagram);
      break;
    }
    case 'sent':
      sendings.answer(message.call, message.error && errorFrom(message.error));
      break;
    case 'verified':
      verifications.answer(message.call, message.ok);
      break;
    case 'options':
      if (server === undefined) changed = { ...changed, ...message.options };
      else server.setOptions(message.options);
      break;
    case 'wanted':
      wanted = message.events;
      break;
    case 'serve':
      void server?.serveForever();
      break;
    case 'suspend':
      void begun.then(() => server?.suspend({ queue: message.queue })).then(() => post({ type: 'door' }));
      break;
    case 'resume':
      void begun.then(() => resume(message.acceptance));
      break;
    case 'drain':
      void end(message.timeout);
      break;
    case 'displace':
      side?.displace(message.id);
      break;
    case 'ping':
      post({ type: 'pong' });
      break;
  }
}

if (parentPort === null) {
  process.on('message', (message, handle) => heard(message as ToWorker, handle as Socket | undefined));
  // Without the server that started it there is nothing left to serve.
  process.on('disconnect', () => process.exit(0));
  // Ctrl-C goes to the whole group, but the parent decides when this process ends.
  process.on('SIGINT', () => {});
} else {
  parentPort.on('message', (message: ToWorker) => heard(message));
}

/** SEQPACKET connections over a Unix path or abstract name. */
import { chmodSync, unlinkSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import type { Address, BoundAddress } from '../address.js';
import { bindWithMode, checkPathLength, clearPath, isAbstract, OwnedPath } from './endpoint.js';
import { listenError, SocketServerError } from '../errors.js';
import { descriptorOf } from '../node-internals.js';
import { systemCalls, type SystemCalls } from './system-calls.js';
import type { StreamTransport, TransportSink } from './transport.js';

let serial = 0;

/**
 * Connections that keep message boundaries (SOCK_SEQPACKET): each chunk read is one packet, each write sends one.
 *
 * Node has none. But to libuv an accepted packet socket reads and writes as a stream socket does, so a net.Server
 * that listens on a throw-away name gets the real listening socket put in its place (dup2) before it first polls.
 * Packets above 64 KiB, libuv's read size, arrive cut off.
 */
export class UnixSeqpacketTransport implements StreamTransport {
  readonly name = 'unix-seqpacket';
  readonly kind = 'stream';
  socket: Server | undefined;
  arrivals = 0;
  #path: OwnedPath | undefined;
  #file: string | undefined;

  async bind(address: Address, sink: TransportSink<Socket>): Promise<BoundAddress> {
    if (!('path' in address))
      throw new SocketServerError('INVALID_ADDRESS', 'a SEQPACKET server has a path, no host, port or fd');
    checkPathLength(address);
    const calls = await systemCalls('SEQPACKET sockets');
    await clearPath(address, (path) => Promise.resolve(probe(calls, path)));
    const server = createServer({ pauseOnConnect: true, allowHalfOpen: true });
    const listening = new Promise<void>((resolve, reject) => {
      server.once('listening', resolve).once('error', reject);
    });
    server.listen({ path: `\0socketserver-${process.pid}-${serial++}` });
    try {
      const fd = calls.socket('seqpacket');
      try {
        bindWithMode(address, () => calls.bind(fd, address.path));
        calls.listen(fd, sink.requestQueueSize);
        calls.dup2(fd, descriptorOf(server));
      } finally {
        calls.close(fd);
      }
      await listening;
    } catch (error) {
      server.close();
      throw listenError(error, address);
    }
    if (!isAbstract(address.path)) {
      this.#path = new OwnedPath(address.path);
      this.#file = address.path;
      if (address.mode !== undefined) chmodSync(address.path, address.mode);
    }
    server.on('connection', (socket: Socket) => {
      this.arrivals++;
      sink.arrived(socket);
    });
    server.on('error', (error: NodeJS.ErrnoException) => sink.acceptFailed(error));
    this.socket = server;
    return { ...address };
  }

  get open(): boolean {
    return this.socket?.listening === true;
  }

  fileno(): number {
    return descriptorOf(this.socket);
  }

  close(): Promise<void> {
    const server = this.socket;
    if (server === undefined || !server.listening) return Promise.resolve();
    if (this.#file === undefined) server.close();
    else
      this.#path!.closeWith(() => {
        server.close();
        unlinkSync(this.#file!);
      });
    return new Promise((resolve) => setImmediate(resolve));
  }
}

function probe(calls: SystemCalls, path: string): 'alive' | 'stale' | 'free' {
  const fd = calls.socket('seqpacket');
  try {
    calls.connect(fd, path);
    return 'alive';
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === 'ECONNREFUSED' ? 'stale' : code === 'ENOENT' ? 'free' : 'alive';
  } finally {
    calls.close(fd);
  }
}

/** Datagrams over a Unix path or abstract name. */
import { chmodSync, unlinkSync } from 'node:fs';
import type { Address, BoundAddress, PeerAddress } from '../address.js';
import { Datagram, type DatagramSocket } from '../datagram.js';
import { bindWithMode, checkPathLength, clearPath, isAbstract, OwnedPath } from './endpoint.js';
import { listenError, SocketServerError } from '../errors.js';
import { systemCalls, type SystemCalls } from './system-calls.js';
import type { DatagramTransport, TransportSink } from './transport.js';

/** Datagrams taken in one go before the loop gets its turn. */
const BATCH = 64;
/** Answers that may wait for a client whose queue is full (10 datagrams by default on Linux). */
const MOST_WAITING = 1_024;
const RETRY_AFTER = 2;

interface Waiting {
  data: Uint8Array;
  path: string;
  since: number;
  resolve(): void;
  reject(error: Error): void;
}

/** Datagrams over a Unix path or abstract name. Node has no such sockets: system calls through koffi. */
export class UnixDatagramTransport implements DatagramTransport, DatagramSocket {
  readonly name = 'unix-datagram';
  readonly kind = 'datagram';
  arrivals = 0;
  #calls: SystemCalls | undefined;
  #fd = -1;
  #watch: { close(): void } | undefined;
  #path: OwnedPath | undefined;
  #file: string | undefined;
  #waiting: Waiting[] = [];
  #retry: NodeJS.Timeout | undefined;
  #writeTimeout = 0;

  get socket(): this {
    return this;
  }

  async bind(address: Address, sink: TransportSink<Datagram>): Promise<BoundAddress> {
    if (!('path' in address))
      throw new SocketServerError('INVALID_ADDRESS', 'a Unix datagram server has a path, no host, port or fd');
    checkPathLength(address);
    const calls = (this.#calls = await systemCalls('Unix datagram sockets'));
    const fd = calls.socket('datagram');
    try {
      await clearPath(address, (path) => Promise.resolve(probe(calls, path)));
      bindWithMode(address, () => calls.bind(fd, address.path));
    } catch (error) {
      calls.close(fd);
      throw listenError(error, address);
    }
    if (!isAbstract(address.path)) {
      this.#path = new OwnedPath(address.path);
      this.#file = address.path;
      // bind(2) made it 0777 less the umask; without a wish of the user that stays.
      if (address.mode !== undefined) chmodSync(address.path, address.mode);
    }
    this.#fd = fd;
    this.#writeTimeout = sink.options.writeTimeout;
    const buffer = Buffer.allocUnsafeSlow(sink.options.maxPacketSize);
    this.#watch = calls.watch(fd, () => this.#read(calls, buffer, sink));
    return { ...address };
  }

  #read(calls: SystemCalls, buffer: Buffer, sink: TransportSink<Datagram>): void {
    for (let i = 0; i < BATCH && this.#fd >= 0; i++) {
      let packet;
      try {
        packet = calls.receive(this.#fd, buffer);
      } catch (error) {
        sink.acceptFailed(error as NodeJS.ErrnoException);
        return;
      }
      if (packet === undefined) return;
      this.arrivals++;
      const truncated = packet.size > buffer.length;
      const data = Buffer.from(buffer.subarray(0, Math.min(packet.size, buffer.length)));
      sink.arrived(new Datagram(data, { path: packet.path }, truncated, this));
    }
  }

  /**
   * Sends one datagram. A client whose queue is full is tried again until `writeTimeout`.
   * Rejects with `NO_RETURN_ADDRESS` for a client that has no name, and with the system's codes: `EMSGSIZE` (too
   * long), `ECONNREFUSED` (the client has gone), `ENOENT` (its file has), `EAGAIN` (its queue stayed full).
   */
  send(data: Uint8Array, to: PeerAddress): Promise<void> {
    return new Promise((resolve, reject) => {
      const path = 'path' in to ? to.path : '';
      if (this.#fd < 0) reject(new SocketServerError('CONNECTION_CLOSED', 'the server is closed'));
      else if (path === '')
        reject(
          new SocketServerError(
            'NO_RETURN_ADDRESS',
            'the sender has no address to answer to: a Unix datagram client has to bind() a name first',
          ),
        );
      else this.#send({ data, path, since: performance.now(), resolve, reject });
    });
  }

  #send(letter: Waiting): void {
    if (this.#waiting.some(({ path }) => path === letter.path)) this.#wait(letter);
    else if (!this.#try(letter)) this.#wait(letter);
  }

  #wait(letter: Waiting): void {
    if (this.#waiting.length >= MOST_WAITING) {
      letter.reject(
        Object.assign(new Error(`${MOST_WAITING} answers wait for clients that do not read`), { code: 'ENOBUFS' }),
      );
      return;
    }
    this.#waiting.push(letter);
    this.#retry ??= setInterval(() => this.#sendWaiting(), RETRY_AFTER);
  }

  #sendWaiting(): void {
    const full = new Set<string>();
    this.#waiting = this.#waiting.filter((letter) => {
      if (full.has(letter.path) || this.#try(letter)) return full.has(letter.path);
      full.add(letter.path);
      return true;
    });
    if (this.#waiting.length > 0) return;
    clearInterval(this.#retry);
    this.#retry = undefined;
  }

  /** False: the client's queue is full, and it is not too late to try again. */
  #try(letter: Waiting): boolean {
    try {
      this.#calls!.send(this.#fd, letter.data, letter.path);
      letter.resolve();
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      const late = this.#writeTimeout > 0 && performance.now() - letter.since >= this.#writeTimeout;
      if (code === 'EAGAIN' && !late) return false;
      letter.reject(error as Error);
    }
    return true;
  }

  get open(): boolean {
    return this.#fd >= 0;
  }

  fileno(): number {
    return this.#fd;
  }

  close(): Promise<void> {
    const fd = this.#fd;
    if (fd < 0) return Promise.resolve();
    this.#fd = -1;
    this.#watch?.close();
    clearInterval(this.#retry);
    this.#retry = undefined;
    for (const letter of this.#waiting)
      letter.reject(new SocketServerError('CONNECTION_CLOSED', 'the server is closed'));
    this.#waiting = [];
    const file = this.#file;
    if (file === undefined) this.#calls!.close(fd);
    else
      this.#path!.closeWith(() => {
        this.#calls!.close(fd);
        unlinkSync(file);
      });
    return Promise.resolve();
  }
}

/** Whether a datagram socket's file has a reader behind it. */
function probe(calls: SystemCalls, path: string): 'alive' | 'stale' | 'free' {
  const fd = calls.socket('datagram');
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

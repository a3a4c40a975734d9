/**
 * Every use of what Node does not document, each with what happens where it is missing. They have been there since
 * Node 0.10 and are there in 26.
 */
/* oxlint-disable no-underscore-dangle -- the one file that uses names Node does not promise */
import net, { type OnReadOpts, type Server, type Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';

/** A bound but unpolled listening socket. */
export interface ServerHandle {
  readonly fd: number;
  getsockname(out: { address?: string; port?: number }): number;
  close(): void;
}

interface WithHandle {
  _handle?: { fd?: number; writeQueueSize?: number } | null;
}

/** The descriptor of a server or socket; -1 when it has none (any more). */
export function descriptorOf(endpoint: Server | Socket | undefined): number {
  return (endpoint as WithHandle | undefined)?._handle?.fd ?? -1;
}

/**
 * What libuv still holds of a write under way. A large write makes progress that the stream does not show; without
 * it only whole writes count as progress.
 */
export function unsentBytes(socket: Socket): number {
  return (socket as WithHandle)._handle?.writeQueueSize ?? 0;
}

/** A listening socket as it arrives from another process: `process.send()` takes bare handles too. */
export interface ReceivedHandle {
  readonly fd: number;
}

/**
 * `server` listens on a handle and becomes its one owner, as in a worker of node:cluster. `server.listen(handle)` does
 * so with TCP only: of a Unix socket it opens the number again (seen in Node 20, 22 and 24). Then two handles close it,
 * and in a process with threads the second close hits whatever another thread has opened under that number since.
 */
export function listenOnHandle(server: Server, handle: ReceivedHandle, backlog: number): void {
  const inside = server as unknown as {
    _handle: ReceivedHandle;
    _listen2?: (address: null, port: -1, family: -1, backlog: number) => void;
  };
  if (inside._listen2 === undefined)
    throw new Error('this Node has no way to listen on a received handle: install koffi');
  inside._handle = handle;
  inside._listen2(null, -1, -1, backlog);
}

interface Insides {
  _handle: object | null;
  _server: unknown;
  server: unknown;
}

/**
 * An accepted connection goes on in a new socket that reads into `onread.buffer`, as `net.connect({ onread })` does:
 * its handle moves over, and its place in the server's count. Undefined when that cannot be: bytes are on their way in
 * or out, or it is no plain socket.
 */
export function withSharedBuffer(
  socket: Socket,
  onread: { buffer: Buffer; callback: (this: Socket, size: number, bytes: Buffer) => boolean },
): Socket | undefined {
  const from = socket as unknown as Insides;
  const { _handle: handle } = from;
  const busy = socket.readableLength > 0 || socket.writableLength > 0 || socket.writableEnded || socket.destroyed;
  if (busy || handle === null || handle === undefined || socket.constructor !== net.Socket) return undefined;
  from._handle = null;
  const made = new net.Socket({ handle, allowHalfOpen: socket.allowHalfOpen, onread } as net.SocketConstructorOpts);
  const to = made as unknown as Insides;
  to._server = from._server;
  to.server = from.server;
  from._server = from.server = null;
  return made;
}

/**
 * From now on a connected socket, plain or TLS, reads into memory of the caller's, as one made by `net.connect({ onread })`
 * does: no memory is allocated for each read, and a callback gets its bytes. Bytes that were read before are still
 * delivered as `data`. A paused socket reads nothing until it is resumed. False, and nothing changes, where this cannot be.
 */
export function readInto(socket: Socket, onread: OnReadOpts): boolean {
  const inside = socket as unknown as Record<symbol, unknown> & {
    _handle?: { useUserBuffer?: (buffer: Uint8Array) => void } | null;
  };
  const symbols = Object.getOwnPropertySymbols(socket);
  const [buffer, callback, make] = ['kBuffer', 'kBufferCb', 'kBufferGen'].map((name) =>
    symbols.find(({ description }) => description === name),
  );
  const handle = inside._handle;
  if (!buffer || !callback || !make || !handle?.useUserBuffer || socket.destroyed || inside[buffer]) return false;
  const first = typeof onread.buffer === 'function' ? onread.buffer() : onread.buffer;
  if (typeof onread.buffer === 'function') inside[make] = onread.buffer;
  inside[buffer] = first;
  inside[callback] = (length: number, bytes: Uint8Array) => onread.callback(length, bytes);
  handle.useUserBuffer(first);
  // A pause from before stops what is passed on, not the reading: Node keeps what comes. Now nothing would keep it.
  if (socket.isPaused()) socket.pause();
  return true;
}

/** The socket that a TLSSocket was made over. */
export function rawSocketOf(secure: TLSSocket): Socket | undefined {
  return (secure as TLSSocket & { _parent?: Socket })._parent;
}

/**
 * Binds without accepting: what node:cluster is built on. Undefined where it is missing; then a listening socket
 * cannot be shared between threads. The call gives an error number instead of a handle when it fails.
 */
export const createServerHandle = (
  net as unknown as {
    _createServerHandle?: (
      host: string | null,
      port: number,
      type: 4 | 6 | -1,
      fd?: undefined,
      flags?: number,
    ) => ServerHandle | number;
  }
)._createServerHandle;

/** The flag of the call above for SO_REUSEPORT: libuv's UV_TCP_REUSEPORT. */
export const REUSE_PORT_FLAG = 2;

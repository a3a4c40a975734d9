/**
 * Our stdout and stderr as streams that never block the event loop: while a reader takes its time (`| less`), we must
 * still hear the host. Node's own process.stdout writes to pipes synchronously.
 */
import { constants, fstatSync, openSync, readFileSync, write } from 'node:fs';
import { Socket, type SocketConstructorOpts } from 'node:net';
import { Writable, type WritableOptions } from 'node:stream';
import type { StreamName } from '../../index.js';
import { started } from '../../started.js';
import { makeWayFor } from './status-line.js';

const RETRY_MS = 5;
/** Bytes that may wait for a slow reader. */
const HIGH_WATER = 1024 * 1024;

export interface Sinks {
  readonly out: Writable;
  /** The same stream as `out` when both lead to one file or terminal, so that order is preserved. */
  readonly err: Writable;
}

/** `takesSocket`: a socket on stdout may become non-blocking for all that share it; see `socketSink`. */
export function standardSinks(highWaterMark = HIGH_WATER, takesSocket = false): Sinks {
  const out = (takesSocket ? socketSink(1, highWaterMark) : undefined) ?? descriptorSink(1, highWaterMark);
  return { out, err: leadToTheSame() ? out : descriptorSink(2, highWaterMark) };
}

/** The stream of ours that failed, and why. */
export interface LostOutput {
  readonly stream: StreamName;
  readonly error: NodeJS.ErrnoException;
}

/** The error of writing to a descriptor that was closed at our start: Node has replaced it with the null device. */
export function closedError(fd: number): NodeJS.ErrnoException | undefined {
  return started().closed.has(fd) ? Object.assign(new Error('it is closed'), { code: 'EBADF' }) : undefined;
}

/** Waits until the sink has room; returns immediately if it has, or is gone. */
export async function put(sink: Writable, bytes: Uint8Array | string): Promise<void> {
  if (sink.destroyed || bytes.length === 0 || sink.write(bytes)) return;
  await new Promise<void>((resolve) => {
    const done = () => {
      sink.off('drain', done).off('close', done);
      resolve();
    };
    sink.on('drain', done).on('close', done);
  });
}

/** Waits until everything is written or writing fails. */
export async function finish({ out, err }: Sinks): Promise<void> {
  await Promise.all(
    [...new Set([out, err])].map(
      (sink) =>
        new Promise<void>((done) => {
          if (sink.closed) done();
          else sink.once('close', done).end();
        }),
    ),
  );
}

function leadToTheSame(): boolean {
  const { closed } = started();
  if (closed.has(1) !== closed.has(2)) return false;
  try {
    const [one, two] = [fstatSync(1), fstatSync(2)];
    return one.dev === two.dev && one.ino === two.ino && one.rdev === two.rdev;
  } catch {
    return false;
  }
}

function descriptorSink(fd: number, highWaterMark: number): Writable {
  return pipeSink(fd, highWaterMark) ?? threadSink(fd, highWaterMark);
}

/**
 * A pipe, reopened without blocking. Processes that share our descriptor are unaffected, a write needs no thread, and
 * no thread is stuck in one when this process ends. Undefined for other kinds of descriptor, and if reopening is not
 * permitted.
 */
function pipeSink(fd: number, highWaterMark: number): Writable | undefined {
  try {
    if (!fstatSync(fd).isFIFO()) return undefined;
    const own = openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK);
    const options: SocketConstructorOpts & WritableOptions = {
      fd: own,
      readable: false,
      writable: true,
      highWaterMark,
    };
    return new Socket(options);
  } catch {
    return undefined;
  }
}

/**
 * A stream socket, as rsync, scp and sftp give one to their ssh. It cannot be reopened, so it is non-blocking for all that
 * share it until our output has ended; OpenSSH does the same. A full one would otherwise cost a pause, and each write a
 * thread. It is neither shut down nor closed here: others may still write there. Undefined for other kinds of descriptor.
 */
function socketSink(fd: number, highWaterMark: number): Writable | undefined {
  let socket: Socket;
  let restores: boolean;
  try {
    if (!fstatSync(fd).isSocket()) return undefined;
    // While stdin reads there, Node restores it at our exit.
    restores = isBlocking(fd) && fstatSync(0).ino !== fstatSync(fd).ino;
    socket = new Socket({ fd, readable: false, writable: true });
  } catch {
    // A datagram socket.
    return undefined;
  }
  const sink = new Writable({
    highWaterMark,
    write: (chunk: Buffer, _encoding, done) => void socket.write(chunk, done),
    writev: (chunks, done) => {
      socket.cork();
      for (const [i, { chunk }] of chunks.entries())
        socket.write(chunk as Buffer, i === chunks.length - 1 ? done : undefined);
      socket.uncork();
    },
    final: (done) => {
      // oxlint-disable-next-line no-underscore-dangle -- the one way without native code; libuv has made it non-blocking
      if (restores) (socket as WithHandle)._handle?.setBlocking?.(true);
      done();
    },
  });
  socket.on('error', (error) => sink.destroy(error));
  return sink;
}

interface WithHandle {
  readonly _handle?: { setBlocking?(blocking: boolean): void } | null;
}

function isBlocking(fd: number): boolean {
  const flags = /^flags:\s*([0-7]+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1];
  return flags !== undefined && (Number.parseInt(flags, 8) & constants.O_NONBLOCK) === 0;
}

/** Any other kind of descriptor: a thread waits for the write. */
function threadSink(fd: number, highWaterMark: number): Writable {
  return new Writable({
    highWaterMark,
    write: (chunk: Buffer, _encoding, done) => writeAll(fd, chunk, done),
    writev: (chunks, done) => writeAll(fd, Buffer.concat(chunks.map(({ chunk }) => chunk as Buffer)), done),
  });
}

function writeAll(fd: number, bytes: Buffer, done: (error?: Error | null) => void): void {
  const closed = closedError(fd);
  if (closed) {
    done(closed);
    return;
  }
  const finished = makeWayFor(fd, bytes);
  writeRest(fd, bytes, (error) => {
    finished();
    done(error);
  });
}

function writeRest(fd: number, bytes: Buffer, done: (error?: Error | null) => void): void {
  write(fd, bytes, 0, bytes.length, null, (error, written) => {
    // A process that shares the descriptor made it non-blocking.
    if (error?.code === 'EAGAIN') setTimeout(() => writeRest(fd, bytes, done), RETRY_MS);
    else if (error) done(error);
    else if (written < bytes.length) writeRest(fd, bytes.subarray(written), done);
    else done();
  });
}

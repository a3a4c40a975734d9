/** Chooses the command's stdin: ours when it is not a terminal or `--stdin` was given, a named file, or nothing. */
import { closeSync, constants, createReadStream, fstatSync, openSync, readFileSync, type Stats } from 'node:fs';
import { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { isatty, ReadStream } from 'node:tty';
import { UsageError } from '../../errors.js';
import type { RunOptions } from '../../index.js';
import { started } from '../../started.js';
import { TerminalInput } from './terminal-input.js';
import type { Arguments } from './command.js';

/** Bytes of one read of a file. */
const CHUNK = 256 * 1024;

const { O_RDONLY, O_NONBLOCK, O_NOCTTY, O_WRONLY } = constants;
const O_ACCMODE = 3;

type Source = NonNullable<RunOptions['stdin']>;

/** @throws UsageError when the options contradict each other, or the input cannot be read. */
export function stdinFor(args: Arguments): Source {
  const asked = args.on('stdin');
  if (args.on('no-stdin')) {
    if (asked) throw new UsageError('--stdin and -n contradict each other: leave one out');
    return 'none';
  }
  const file = args.bytes('stdin').at(-1);
  if (file && Buffer.from(file).toString() !== '/dev/stdin') return fromFile(Buffer.from(file));
  if (args.bytes('secret').some(isFromStdin)) {
    if (asked) throw new UsageError('--stdin and a --secret NAME=- both want our stdin: give one of them a file');
    return 'none';
  }
  // We leave a detached command immediately, so it gets stdin only on request.
  if (!asked && args.on('detach')) return 'none';
  if (asked && started().closed.has(0))
    throw new UsageError('--stdin: our stdin is closed: give it a file with --stdin=FILE');
  return ownStdin(asked, asked ? 'give it a file with --stdin=FILE' : 'leave it alone with -n');
}

/** A secret that is read from our stdin: NAME=-. */
const isFromStdin = (word: Uint8Array): boolean => word.at(-1) === 0x2d && word.indexOf(0x3d) === word.length - 2;

/**
 * Our stdin, of whatever kind; `terminal`: also a terminal. `way`: what to do about one that cannot be read.
 * @throws UsageError
 */
export function ownStdin(terminal: boolean, way: string): Source {
  if (started().closed.has(0)) return 'none';
  if (isatty(0)) return terminal ? new TerminalInput(process.stdin) : 'none';
  const info = fstatSync(0);
  if (info.isDirectory()) throw new UsageError(`our stdin is a folder, which cannot be read: ${way}`);
  if (isForWriting()) throw new UsageError(`our stdin is open for writing only: ${way}`);
  if (isNull(info)) return 'none';
  // Node reads nothing from kinds it does not know: a block device, a datagram socket, an event descriptor.
  if (info.isFIFO() || (info.isSocket() && process.stdin instanceof Socket)) return process.stdin;
  return createReadStream('', { fd: 0, autoClose: false, highWaterMark: CHUNK });
}

/**
 * Our stdin as the content of a file.
 * @throws UsageError when it cannot be read.
 */
export function contentOfStdin(): AsyncIterable<Uint8Array | string> {
  if (started().closed.has(0)) throw new UsageError('our stdin is closed, so it cannot be the content of a file');
  const source = ownStdin(true, 'name a file');
  // The null device is empty.
  return typeof source === 'string' || source instanceof Uint8Array ? Readable.from([]) : source;
}

function isForWriting(): boolean {
  try {
    const flags = /^flags:\s*([0-7]+)/m.exec(readFileSync('/proc/self/fdinfo/0', 'latin1'))?.[1] ?? '0';
    return (Number.parseInt(flags, 8) & O_ACCMODE) === O_WRONLY;
  } catch {
    // Without /proc, the first read will show.
    return false;
  }
}

/** The null device, which is always empty. */
function isNull({ rdev }: Stats): boolean {
  return rdev !== 0 && rdev === nullDevice();
}

function nullDevice(): number {
  const fd = openSync('/dev/null', 'r');
  const { rdev } = fstatSync(fd);
  closeSync(fd);
  return rdev;
}

/** Opens the file without blocking on a FIFO's writer or a serial line's carrier. */
function fromFile(path: Buffer): Source {
  const name = path.toString();
  const fd = opened(path, name);
  const info = fstatSync(fd);
  const isTerminal = isatty(fd);
  if (info.isFIFO()) return new Socket({ fd, readable: true, writable: false });
  if (isTerminal) return new TerminalInput(new ReadStream(fd));
  closeSync(fd);
  if (info.isDirectory()) throw new UsageError(`--stdin: the file "${name}" is a folder`);
  // All readers of a device share one stream.
  if (info.isCharacterDevice()) return createReadStream(path, { highWaterMark: CHUNK });
  // Opened on demand, by each host of a set for itself.
  return {
    [Symbol.asyncIterator]: () => createReadStream(path, { highWaterMark: CHUNK })[Symbol.asyncIterator](),
  };
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'does not exist',
  ENOTDIR: 'does not exist',
  EACCES: 'cannot be read: permission denied',
  ENXIO: 'is a socket, or a device that does not exist',
};

function opened(path: Buffer, name: string): number {
  try {
    return openSync(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new UsageError(`--stdin: the file "${name}" ${REASONS[code ?? ''] ?? `cannot be read: ${message}`}`);
  }
}

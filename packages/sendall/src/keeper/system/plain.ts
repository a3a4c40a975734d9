/**
 * What stands in for `syscalls.ts` where koffi cannot be loaded: FIFOs and child_process. It keeps the promises about
 * output, input and exit codes, and loses:
 * words, variables and folders that are not UTF-8 (refused), the default limit of open files (Node's raised one is
 * inherited), terminals, exact and ordered capture, secrets in descriptors and other users (refused), rusage, speed (a
 * start takes twice as long), and orphans are found by group, session and mark alone. Node tells a death by a real-time
 * signal as code 0: a command that got one from a caller ends with `lost` instead of 0; one that such a signal of others
 * ends cannot be known.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import {
  accessSync,
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { Socket } from 'node:net';
import { constants as os } from 'node:os';
import { join, resolve } from 'node:path';
import { RESOURCES, RLIMIT_NOFILE, starter } from '../../started.js';
import { readLimit, renice, UNLIMITED } from './inheritance.js';
import { StartFailure } from './program.js';
import { SystemError } from '../../libc/system-error.js';
import type { Native, Status, Watch, Words } from './native.js';

/** FIFOs made with one call of mkfifo. */
const BATCH = 16;
const CHUNK = 64 * 1024;
/** What a pipe holds unless it was enlarged. */
const PIPE_CAPACITY = 64 * 1024;
/** How often a full stdin is tried again. */
const RETRY_MS = 5;

const refuse = (what: string): never => {
  throw new StartFailure('limits', `${what} needs koffi, which this keeper could not load`);
};

function errnoOf(error: unknown): SystemError {
  const { errno, syscall } = error as NodeJS.ErrnoException;
  return new SystemError(syscall ?? 'call', Math.abs(errno ?? os.errno.EIO));
}

/** Node has no names for signals from here on, and tells a death by them as code 0. */
const REAL_TIME = 32;

const wouldBlock = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === 'EAGAIN';

/** Bytes as a string that Node turns into the same bytes again; bytes without such a string are refused. */
function text(bytes: Uint8Array): string {
  const string = Buffer.from(bytes).toString();
  if (!Buffer.from(string).equals(bytes)) return refuse('a word that is not UTF-8');
  return string;
}

/** `folder` is private; FIFOs live in it for a moment. */
export function plainNative(folder: string): Native {
  const fifos = join(folder, `fifos.${process.pid}`);
  const ready: string[] = [];
  let made = 0;
  const sockets = new Map<number, Inlet>();
  const words = new Map<Words, { argv: readonly Uint8Array[]; env: readonly Uint8Array[] }>();
  const ended = new Map<number, Status>();
  /** Commands, or groups of them, that got a real-time signal, with the last of these. */
  const nameless = new Map<number, number>();
  let onEnded: (() => void) | undefined;

  /** What Node says of an end. */
  function statusOf(pid: number, code: number | null, name: NodeJS.Signals | null): Status {
    const sent = nameless.get(pid);
    nameless.delete(pid);
    if (code === null) return { signal: os.signals[name!], core: false };
    if (code !== 0 || sent === undefined) return { code, core: false };
    return {
      unknown: `it got signal ${sent}, and a host without koffi does not hear whether it ended by that`,
      core: false,
    };
  }

  function send(pid: number, signal: number): boolean {
    const done = process.kill(pid, signal);
    if (signal >= REAL_TIME) nameless.set(Math.abs(pid), signal);
    return done;
  }

  function fifo(): string {
    if (ready.length === 0) {
      mkdirSync(fifos, { recursive: true, mode: 0o700 });
      for (let i = 0; i < BATCH; i++) ready.push(join(fifos, String(made++)));
      const { status } = spawnSync('mkfifo', ['-m', '600', ...ready]);
      if (status !== 0) {
        ready.length = 0;
        throw new SystemError('mkfifo', os.errno.ENOSPC);
      }
    }
    return ready.pop()!;
  }

  return {
    subreaper: false,
    pipe(ours) {
      const path = fifo();
      const { O_RDONLY, O_WRONLY, O_NONBLOCK } = constants;
      // A reader that does not wait for a writer first; then both ends can be opened again as they are needed.
      const reader = openSync(path, O_RDONLY | O_NONBLOCK);
      const writer = openSync(path, ours === 'write' ? O_WRONLY | O_NONBLOCK : O_WRONLY);
      let read = reader;
      if (ours === 'write') {
        read = openSync(path, O_RDONLY);
        closeSync(reader);
      }
      unlinkSync(path);
      return [read, writer];
    },
    packetPipe: () => refuse('exact capture'),
    read(fd, into) {
      const inlet = sockets.get(fd);
      const waiting = inlet?.take(into);
      if (waiting !== undefined) return waiting;
      try {
        return readSync(fd, into);
      } catch (error) {
        if (wouldBlock(error)) return -1;
        throw errnoOf(error);
      }
    },
    write(fd, bytes) {
      try {
        return writeSync(fd, bytes);
      } catch (error) {
        if (wouldBlock(error)) return -1;
        throw errnoOf(error);
      }
    },
    close(fd) {
      const inlet = sockets.get(fd);
      sockets.delete(fd);
      if (inlet) inlet.close();
      else closeSync(fd);
    },
    available: () => PIPE_CAPACITY,
    enlarge() {},
    watch(fd, mode, callback) {
      if (mode === 'write') return retrying(callback);
      const inlet = new Inlet(fd, callback);
      sockets.set(fd, inlet);
      return { stop: () => inlet.stop(), start: () => inlet.start(), close: () => inlet.stop() };
    },
    executable(within, path) {
      const name = path.subarray(0, -1);
      const absolute = name[0] === 0x2f ? name : Buffer.concat([Buffer.from(`/proc/self/fd/${within}/`), name]);
      try {
        accessSync(absolute, constants.X_OK);
        return 0;
      } catch (error) {
        return (error as NodeJS.ErrnoException).code ?? 'EIO';
      }
    },
    words(argv, env) {
      for (const each of [...argv, ...env]) text(each);
      const handle: Words = { block: Buffer.alloc(0), argv: Buffer.alloc(0), env: Buffer.alloc(0) };
      words.set(handle, { argv, env });
      return handle;
    },
    arrange: (plan) => ({ plan }),
    callOf: () => undefined,
    callDone() {},
    expectRuns() {},
    adopt({ limits, umask, nice }) {
      process.umask(umask & 0o077);
      const own = starter();
      // The limit of files is Node's raised one anyway.
      const different: string[] = RESOURCES.filter(
        (_, no) => no !== RLIMIT_NOFILE && limits[no]?.join() !== own.limits[no]?.join(),
      );
      return renice(nice) ? different : [...different, 'niceness'];
    },
    isLastToGo: false,
    discard({ plan }) {
      words.delete(plan.words);
    },
    spawn({ plan }) {
      const { argv, env } = words.get(plan.words)!;
      words.delete(plan.words);
      const variables: NodeJS.ProcessEnv = {};
      for (const pair of env.map(text)) variables[pair.slice(0, pair.indexOf('='))] = pair.slice(pair.indexOf('=') + 1);
      const path = text(plan.path.subarray(0, -1));
      const cwd = `/proc/self/fd/${plan.cwd}`;
      let child: ChildProcess;
      try {
        child = spawn(path, argv.slice(1).map(text), {
          argv0: text(argv[0]!),
          cwd,
          env: variables,
          detached: true,
          stdio: [plan.stdin, plan.stdout, plan.stderr, ...(plan.more ?? [])],
        });
      } catch (error) {
        throw errnoOf(error);
      }
      child.on('error', () => {});
      const { pid } = child;
      if (pid === undefined) throw new SystemError('spawn', whyNot(resolve(cwd, path)));
      child.on('exit', (code, signal) => {
        ended.set(pid, statusOf(pid, code, signal));
        onEnded?.();
      });
      return pid;
    },
    onChildEnded(callback) {
      onEnded = callback;
      return () => (onEnded = undefined);
    },
    endedChild: () => ended.keys().next().value ?? 0,
    reap(pid) {
      const status = ended.get(pid);
      ended.delete(pid);
      return status;
    },
    kill(pid, signal) {
      try {
        return send(pid, signal);
      } catch {
        return false;
      }
    },
    signalExactly(pid, signal, same) {
      try {
        return same() && send(pid, signal);
      } catch {
        return false;
      }
    },
    becomeSubreaper() {},
    bearsInGroups: false,
    hardLimit: (resource) => hardOf(resource),
    apartFromKeys: (act) => act(),
    account: () => refuse('running as another user'),
    as: () => refuse('running as another user'),
    duplicate: () => refuse('a terminal'),
    sealed: () => refuse('a secret in a descriptor (not in a variable, --secret-as env)'),
    openTerminal: () => refuse('a terminal'),
    setTerminalSize() {},
    terminalBits: () => undefined,
    recordSockets: () => refuse('ordered capture'),
    receive: () => undefined,
    startWriting: undefined,
    lock(fd) {
      // The lock belongs to the open file, which this process keeps.
      return spawnSync('flock', ['-n', '3'], { stdio: ['ignore', 'ignore', 'ignore', fd] }).status === 0;
    },
    dispose: () => rmSync(fifos, { recursive: true, force: true }),
  };
}

/** This process' hard limit, which its children have too. */
function hardOf(resource: number): bigint {
  const limit = starter().limits[resource];
  return limit ? readLimit(limit).hard : UNLIMITED;
}

/** Node says only later why a file did not start; this looks at the file instead. */
function whyNot(path: string): number {
  let head: string;
  try {
    head = readFileSync(path).toString('latin1', 0, 4);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EISDIR' ? os.errno.EACCES : os.errno.ENOENT;
  }
  if (head.startsWith('#!')) return os.errno.ENOENT;
  return head === '\x7fELF' ? os.errno.EACCES : os.errno.ENOEXEC;
}

/** Calls again and again until it is stopped. */
function retrying(callback: () => void): Watch {
  let timer: NodeJS.Timeout | undefined = setInterval(callback, RETRY_MS);
  const stop = (): void => {
    clearInterval(timer);
    timer = undefined;
  };
  return { stop, start: () => void (timer ??= setInterval(callback, RETRY_MS)), close: stop };
}

/** The read end of a FIFO: Node reads, and what it has read waits to be taken. */
class Inlet {
  readonly #socket: Socket;
  readonly #ready: () => void;
  #chunk: Buffer | undefined;
  #ended = false;

  constructor(fd: number, ready: () => void) {
    this.#ready = ready;
    const buffer = Buffer.allocUnsafeSlow(CHUNK);
    // Typed for connections only, but a Socket reads any pipe.
    const options = {
      fd,
      readable: true,
      writable: false,
      onread: { buffer, callback: (n: number): boolean => this.#read(buffer.subarray(0, n)) },
    };
    this.#socket = new Socket(options);
    this.#socket.on('error', () => this.#end());
    this.#socket.on('end', () => this.#end());
    this.#socket.resume();
  }

  #read(chunk: Buffer): boolean {
    this.#chunk = chunk;
    while (this.#chunk && !this.#socket.isPaused()) this.#ready();
    // Not taken: the buffer may not be filled again.
    return this.#chunk === undefined;
  }

  #end(): void {
    this.#ended = true;
    this.#ready();
  }

  /** How many bytes that Node has read were copied, 0 at the end; undefined when it has read nothing. */
  take(into: Buffer): number | undefined {
    const chunk = this.#chunk;
    if (!chunk) return this.#ended ? 0 : undefined;
    const n = chunk.copy(into);
    this.#chunk = n < chunk.length ? chunk.subarray(n) : undefined;
    return n;
  }

  stop(): void {
    this.#socket.pause();
  }

  start(): void {
    this.#socket.resume();
    while (this.#chunk && !this.#socket.isPaused()) this.#ready();
    if (this.#ended) this.#ready();
  }

  close(): void {
    this.#chunk = undefined;
    this.#socket.destroy();
  }
}

/** Starts a command: everything that can fail is done before its intent is synced, so that little is left after. */
import { closeSync } from 'node:fs';
import { join } from 'node:path';
import { STREAM, type Spec } from '../../protocol/messages.js';
import { buildEnvironment } from '../system/environment.js';
import { shellWords, tooLong } from '../system/long-words.js';
import type { RunServices } from './services.js';
import { findProgram, mustWriteToSockets, openFolder, startFailure, StartFailure } from '../system/program.js';
import { PacketSource, RecordSource } from '../output/records.js';
import { PipeSource, type Source } from '../system/source.js';
import { SystemError, type Arranged, type Native, type UserAccount } from '../system/native.js';
import { Terminal } from '../system/terminal.js';
import type { Spawner } from '../system/spawner.js';
import type { Tree } from '../system/tree.js';

const SLASH = 0x2f;
const SHELL = Buffer.from('/bin/sh\0');
/** AT_FDCWD. */
const HERE = -100;
/** Of util-linux. It gives up root for good before it becomes the program; the keeper itself never is another user. */
const SETPRIV = Buffer.from('/usr/bin/setpriv\0');
/** Variables by which a user's files would get into setpriv while it is root. Source: ld.so(8), secure-execution mode. */
const LOADS_CODE = /^(?:LD_\w+|GLIBC_TUNABLES|GCONV_PATH|LOCPATH|NLSPATH|MALLOC_\w+)=/;

export interface OpenedStream {
  readonly stream: number;
  readonly source: Source;
}

/** A command ready to start: descriptors open, program found, its place in a tree taken, the call laid out. */
export class Launch {
  readonly #native: Native;
  readonly #name: Uint8Array;
  readonly #argv: readonly Uint8Array[];
  readonly #env: readonly Uint8Array[];
  readonly #user: UserAccount | undefined;
  #cwd = -1;
  #path: Buffer = SHELL;
  /** Ends the child gets; closed here once it has them. */
  readonly #theirs: number[] = [];
  #handedOver = false;
  #stdin = -1;
  #stdout = -1;
  #stderr = -1;
  /** Our ends. */
  readonly outputs: OpenedStream[] = [];
  input = -1;
  terminal: Terminal | undefined;
  readonly tree: Tree;
  #arranged: Arranged | undefined;

  /** @throws StartFailure, or SystemError when descriptors run out. Nothing stays open then. */
  constructor(services: RunServices, spec: Spec, runId: string, tree: Tree) {
    this.#native = services.native;
    this.tree = tree;
    this.#user = otherUser(services, spec);
    const account = this.#user ?? services.account;
    const { pairs, path } = buildEnvironment(account, spec.env, runId, spec.pty?.term);
    this.#env = pairs;
    this.#argv = spec.verb === 'sh' ? shellWords(spec.script!) : spec.argv;
    this.#name = spec.verb === 'sh' ? SHELL.subarray(0, -1) : spec.argv[0]!;
    try {
      this.#asUser(() => {
        this.#cwd = openFolder(this.#native, folderOf(spec.cwd, account.home));
        this.#path = spec.verb === 'sh' ? SHELL : findProgram(this.#native, this.#name, path, this.#cwd);
        if (spec.capture === 'ordered' && !spec.pty) mustWriteToSockets(this.#path, this.#cwd);
        this.#openStreams(services, spec);
      });
      // Not as the user: the socket's name is in the keeper's own folder for a moment.
      if (!spec.pty && spec.capture === 'ordered') this.#openRecords(services);
      this.#arranged = this.#arrange(this.#path, this.#argv);
    } catch (error) {
      this.abandon();
      throw error;
    }
  }

  /** What is opened here belongs to the user: a command may open its own /dev/stdout again. */
  #asUser<T>(act: () => T): T {
    return this.#user ? this.#native.as(this.#user, act) : act();
  }

  #openStreams(services: RunServices, spec: Spec): void {
    if (spec.pty) return this.#openTerminal(spec.pty.cols, spec.pty.rows);
    this.#stdin = spec.stdin ? this.#pipeIn() : services.devNull;
    if (spec.capture === 'ordered') return;
    if (spec.capture === 'exact') return this.#openPackets();
    this.#stdout = this.#pipeOut(STREAM.stdout);
    this.#stderr = spec.capture === 'merged' ? this.#stdout : this.#pipeOut(STREAM.stderr);
  }

  #pipeIn(): number {
    const [read, write] = this.#native.pipe('write');
    this.#theirs.push(read);
    this.input = write;
    return read;
  }

  #pipeOut(stream: number): number {
    const [read, write] = this.#native.pipe('read');
    this.#theirs.push(write);
    this.outputs.push({ stream, source: new PipeSource(this.#native, read) });
    return write;
  }

  #openPackets(): void {
    const ends = [STREAM.stdout, STREAM.stderr].map((stream) => {
      const [fd, write] = this.#native.packetPipe();
      this.#theirs.push(write);
      return { stream, fd, write };
    });
    this.#stdout = ends[0]!.write;
    this.#stderr = ends[1]!.write;
    this.outputs.push({ stream: STREAM.records, source: new PacketSource(this.#native, ends) });
  }

  #openTerminal(cols: number, rows: number): void {
    const terminal = new Terminal(this.#native, cols, rows);
    this.terminal = terminal;
    this.outputs.push({ stream: STREAM.pty, source: terminal.source });
    this.input = terminal.input;
  }

  #openRecords(services: RunServices): void {
    const { receiver, senders, longest } = this.#native.recordSockets(join(services.home.runtime, 'records'));
    const streams = new Map<string, number>();
    for (const [i, { fd, address }] of senders.entries()) {
      this.#theirs.push(fd);
      streams.set(address, i + STREAM.stdout);
    }
    this.#stdout = senders[0]!.fd;
    this.#stderr = senders[1]!.fd;
    this.outputs.push({ stream: STREAM.records, source: new RecordSource(this.#native, receiver, streams, longest) });
  }

  /** The resolved program. */
  get program(): Buffer {
    return this.#path.subarray(0, -1);
  }

  /**
   * Starts it and returns its pid.
   * @throws StartFailure; our ends are closed then.
   */
  go(): number {
    try {
      return this.tree.within(() => this.#spawn());
    } catch (error) {
      return this.#fail(error);
    } finally {
      this.#closeTheirs();
    }
  }

  /**
   * As `go`, on the spawner's thread. False when it has to be done here. `done` gets the pid, or StartFailure; our ends
   * are closed then.
   */
  goAside(spawner: Spawner, done: (pid: number, failure?: unknown) => void): boolean {
    const arranged = this.#arranged!;
    const call = this.#user ? undefined : this.#native.callOf(arranged);
    if (!call) return false;
    this.#arranged = undefined;
    spawner.spawn(call, this.tree.seat, (errno, pid) => {
      this.#native.callDone();
      this.#native.discard(arranged);
      if (errno === 0) {
        this.#closeTheirs();
        done(pid);
        return;
      }
      const error = new SystemError('posix_spawn', errno);
      if (error.errno === 'ENOEXEC') this.#arranged = this.#arrangeShell();
      try {
        done(this.#arranged ? this.go() : this.#fail(error));
      } catch (failure) {
        done(0, failure);
      }
    });
    return true;
  }

  #fail(error: unknown): never {
    this.abandon();
    if (error instanceof SystemError && error.errno === 'E2BIG') throw tooLong(this.#argv, this.#env);
    if (error instanceof SystemError) throw startFailure(this.#name, error);
    throw error;
  }

  /** A script without "#!" is run by the shell, as execvp does. */
  #arrangeShell(): Arranged {
    return this.#arrange(SHELL, [Buffer.from('/bin/sh'), this.program, ...this.#argv.slice(1)]);
  }

  #arrange(path: Buffer, argv: readonly Uint8Array[]): Arranged {
    const words = this.#user ? becoming(this.#user, path, argv) : argv;
    return this.#native.arrange({
      path: this.#user ? SETPRIV : path,
      words: this.#native.words(words, this.#env),
      cwd: this.#cwd,
      stdin: this.#stdin,
      stdout: this.#stdout,
      stderr: this.#stderr,
      terminal: this.terminal?.path,
    });
  }

  #spawn(): number {
    const arranged = this.#arranged!;
    this.#arranged = undefined;
    try {
      return this.#native.spawn(arranged);
    } catch (error) {
      if (!(error instanceof SystemError) || error.errno !== 'ENOEXEC' || arranged.plan.path === SHELL) throw error;
      this.#arranged = this.#arrangeShell();
      return this.#spawn();
    }
  }

  #closeTheirs(): void {
    if (this.#handedOver) return;
    this.#handedOver = true;
    for (const fd of this.#theirs) this.#native.close(fd);
    if (this.#cwd >= 0) closeSync(this.#cwd);
  }

  /** Closes everything: the command will not start. */
  abandon(): void {
    this.#closeTheirs();
    this.tree.release();
    if (this.#arranged) this.#native.discard(this.#arranged);
    this.#arranged = undefined;
    for (const { source } of this.outputs) source.close();
    this.outputs.length = 0;
    this.terminal?.release();
    if (this.input >= 0) this.#native.close(this.input);
    this.input = -1;
  }
}

/** Where a command starts: a relative folder is one below its user's home. */
function folderOf(cwd: Uint8Array | undefined, home: string): Uint8Array {
  if (!cwd) return Buffer.from(home);
  return cwd[0] === SLASH ? cwd : Buffer.concat([Buffer.from(`${home}/`), cwd]);
}

/** The words that make a command of another user's. */
function becoming(user: UserAccount, path: Buffer, argv: readonly Uint8Array[]): Uint8Array[] {
  const ids = [`--reuid=${user.uid}`, `--regid=${user.gid}`, `--groups=${user.groups.join(',') || user.gid}`, '--'];
  return ['setpriv', ...ids].map((word): Uint8Array => Buffer.from(word)).concat(path.subarray(0, -1), argv.slice(1));
}

/**
 * The user a spec asks for, when it is not the keeper's own.
 * @throws StartFailure
 */
function otherUser({ native, account }: RunServices, { runAs, env }: Spec): UserAccount | undefined {
  if (runAs === undefined || runAs === account.name) return undefined;
  if (process.geteuid?.() !== 0)
    throw new StartFailure('policy', `the keeper runs as ${account.name} and cannot run commands as ${runAs}`);
  if (native.executable(HERE, SETPRIV) !== 0)
    throw new StartFailure('policy', 'commands of another user need setpriv (of util-linux) on the host');
  const loaded = env.map((pair) => Buffer.from(pair).toString('latin1')).find((pair) => LOADS_CODE.test(pair));
  if (loaded !== undefined) {
    const [name] = loaded.split('=', 1);
    throw new StartFailure(
      'policy',
      `${name} would be obeyed before root is given up: have the user's own command set it (env ${name}=… PROGRAM)`,
    );
  }
  const user = native.account(runAs);
  if (!user) throw new StartFailure('badspec', `this machine has no user ${JSON.stringify(runAs)}`);
  return user;
}

/** Starts a command: everything that can fail is done before its intent is synced, so that little is left after. */
import { closeSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { STREAM, type Grant, type Spec } from '../../protocol/messages.js';
import { startsOwnProgram } from '../../protocol/own-runs.js';
import { buildEnvironment, ownAccount, withVariables } from '../system/environment.js';
import { becomingOf } from '../bounds/grant.js';
import { beginLimits, type LimitEnd } from '../bounds/limit-ends.js';
import type { LimitGroup } from '../bounds/limit-groups.js';
import { prefixOf, type Becoming } from '../bounds/prefix.js';
import { shellWords, tooLong } from '../system/long-words.js';
import { accountShellWords, sshVariables } from './account-shell.js';
import type { RunServices } from './services.js';
import { openSecrets, secretVariables, type Secrets } from './secrets.js';
import { findProgram, mustWriteToSockets, openFolder, startFailure, StartFailure } from '../system/program.js';
import { PacketSource, RecordSource } from '../output/records.js';
import { PipeSource, type Source } from '../system/source.js';
import { SystemError } from '../../libc/system-error.js';
import { FIRST_AFTER_STANDARD, type Arranged, type Native, type UserAccount } from '../system/native.js';
import { Terminal } from '../system/terminal.js';
import type { Spawner } from '../system/spawner.js';
import type { Tree } from '../system/tree.js';
import { ownEnvironment, ownFolder } from '../transfer/own-surroundings.js';

const SLASH = 0x2f;
const SHELL = Buffer.from('/bin/sh\0');

export interface OpenedStream {
  readonly stream: number;
  readonly source: Source;
}

/** What a command gets besides its spec. */
export interface Surroundings {
  readonly tree: Tree;
  /** Where its memory and processes are limited. */
  readonly group?: LimitGroup | undefined;
  /** Absent for an owner's. */
  readonly grant?: Grant | undefined;
  readonly secrets: Secrets;
  /** Both ends of its caller's link, for a command of the account's own shell; see OPEN. */
  readonly connection?: string | undefined;
}

/** A command ready to start: descriptors open, program found, its place in a tree taken, the call laid out. */
export class Launch {
  readonly #native: Native;
  readonly #name: Uint8Array;
  #argv: readonly Uint8Array[];
  #env: readonly Uint8Array[];
  readonly #becoming: Becoming | undefined;
  /** Words before its own. */
  #prefix: readonly string[] = [];
  readonly #grant: Grant | undefined;
  #cwd = -1;
  #path: Buffer = SHELL;
  #ownFile: Buffer | undefined;
  /** Ends the child gets; closed here once it has them. */
  readonly #theirs: number[] = [];
  /** Those of them behind stderr, in their order. */
  readonly #more: number[] = [];
  #handedOver = false;
  #stdin = -1;
  #stdout = -1;
  #stderr = -1;
  /** Our ends. */
  readonly outputs: OpenedStream[] = [];
  input = -1;
  /** Where our own program reports its files. */
  report = -1;
  terminal: Terminal | undefined;
  readonly tree: Tree;
  readonly group: LimitGroup | undefined;
  /** It has started and must end at once. */
  tooMuch: LimitEnd | undefined;
  #arranged: Arranged | undefined;

  /**
   * @throws StartFailure, or SystemError when descriptors run out. Nothing stays open then; the tree and the group are
   * still the caller's.
   */
  constructor(services: RunServices, spec: Spec, runId: string, surroundings: Surroundings) {
    const { tree, group, grant, secrets, connection } = surroundings;
    this.#native = services.native;
    this.tree = tree;
    this.group = group;
    this.#grant = grant;
    this.#becoming = becomingOf(services.native, services.account, spec, grant);
    const { accountShell } = spec;
    if (accountShell && grant) throw new StartFailure('policy', "the account's own shell is for owners only");
    // Its shell may have been changed since this process began.
    const account = this.#user ?? (accountShell ? ownAccount() : services.account);
    const given = secrets.length ? [...spec.env, ...secretVariables(secrets)] : spec.env;
    const isOwn = startsOwnProgram(spec);
    const { pairs, path } = isOwn
      ? ownEnvironment(runId, grant)
      : buildEnvironment(account, given, runId, spec.pty?.term);
    this.#env = pairs;
    const shell = accountShell ? Buffer.from(account.shell) : SHELL.subarray(0, -1);
    this.#argv = spec.verb === 'sh' ? shellWords(spec.script!) : spec.argv;
    this.#name = spec.verb === 'sh' ? shell : spec.argv[0]!;
    try {
      this.#prefix = prefixOf(this.#native, this.#becoming, spec.limits, given);
      if (accountShell) this.#argv = accountShellWords(account, spec.script!, this.#prefix.length > 0);
      this.#asUser(() => {
        this.#cwd = isOwn
          ? ownFolder(this.#native, account.home, spec)
          : this.#openFolder(folderOf(spec.cwd, account.home), accountShell && !spec.cwd);
        if (isOwn) this.#takeOwnProgram(services, spec);
        else this.#path = this.#findProgram(spec, path);
        if (spec.capture === 'ordered' && !spec.pty) mustWriteToSockets(this.#path, this.#cwd);
        this.#openStreams(services, spec);
        if (accountShell) this.#env = withVariables(pairs, sshVariables(connection, this.terminal?.name));
        openSecrets(this.#native, secrets, (fd) => void this.#pass(fd));
      });
      // Not as the user: the socket's name is in the keeper's own folder for a moment.
      if (!spec.pty && spec.capture === 'ordered') this.#openRecords(services);
      this.#arranged = this.#arrange(this.#path, this.#argv);
    } catch (error) {
      this.#close();
      throw error;
    }
  }

  get #user(): UserAccount | undefined {
    return this.#becoming?.user;
  }

  /** Of a grant, the program that was checked: no PATH and no word of the caller's says where it is. */
  #findProgram({ verb, accountShell }: Spec, path: Buffer): Buffer {
    if (verb === 'sh' && !accountShell) return SHELL;
    if (!this.#grant) return findProgram(this.#native, this.#name, path, this.#cwd);
    const { program, rule } = this.#grant;
    if (program?.[0] !== SLASH) throw new StartFailure('policy', `the rule ${rule} names no program`);
    return findProgram(this.#native, program, path, this.#cwd);
  }

  /** Who has no home, or may not enter it, starts at the root after a login. */
  #openFolder(path: Uint8Array, orRoot = false): number {
    try {
      return openFolder(this.#native, path);
    } catch (error) {
      if (!orRoot || !(error instanceof StartFailure)) throw error;
      return openFolder(this.#native, Buffer.from('/'));
    }
  }

  /** put, get and forward: our own program, with its operands. */
  #takeOwnProgram({ ownProgram }: RunServices, { verb, argv }: Spec): void {
    const [read, write] = this.#native.pipe('read');
    this.report = read;
    this.#pass(write);
    const { path, words } = ownProgram.start(this.#native, (fd) => this.#pass(fd));
    this.#path = path;
    this.#ownFile = Buffer.from(ownProgram.file);
    this.#argv = [...words, Buffer.from(verb), ...argv];
  }

  /** A descriptor that it gets behind stderr; its number there. */
  #pass(fd: number): number {
    this.#theirs.push(fd);
    this.#more.push(fd);
    return FIRST_AFTER_STANDARD + this.#more.length - 1;
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

  /** The resolved program; of our own, its file and not Node's. */
  get program(): Buffer {
    return this.#ownFile ?? this.#path.subarray(0, -1);
  }

  /**
   * Starts it and returns its pid.
   * @throws StartFailure; our ends are closed then.
   */
  go(): number {
    try {
      this.#compareProgram();
      const { group, tree } = this;
      if (!group) return tree.within(() => this.#spawn());
      const pid = group.within(() => tree.within(() => this.#spawn()));
      this.tooMuch = beginLimits(group);
      return pid;
    } catch (error) {
      return this.#fail(error);
    } finally {
      this.#closeTheirs();
    }
  }

  /** Right before the start: the file is still the one that was checked. */
  #compareProgram(): void {
    const { rule, device, inode } = this.#grant ?? {};
    if (device === undefined && inode === undefined) return;
    const now = statSync(this.program, { bigint: true, throwIfNoEntry: false });
    // A message carries 53 bits.
    if (now && Number(now.dev) === device && Number(BigInt.asUintN(53, now.ino)) === inode) return;
    throw new StartFailure(
      'policy',
      `${this.program.toString()} was replaced after the rule ${rule} was checked: send the command again`,
    );
  }

  /**
   * As `go`, on the spawner's thread. False when it has to be done here. `done` gets the pid, or StartFailure; our ends
   * are closed then.
   */
  goAside(spawner: Spawner, done: (pid: number, failure?: unknown) => void): boolean {
    const arranged = this.#arranged!;
    const call = this.#user || this.group ? undefined : this.#native.callOf(arranged);
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
    const before = this.#prefix;
    const words =
      before.length > 0 ? [...before.map((word) => Buffer.from(word)), path.subarray(0, -1)] : argv.slice(0, 1);
    return this.#native.arrange({
      path: before.length > 0 ? Buffer.from(`${before[0]}\0`) : path,
      words: this.#native.words([...words, ...argv.slice(1)], this.#env),
      cwd: this.#cwd,
      stdin: this.#stdin,
      stdout: this.#stdout,
      stderr: this.#stderr,
      terminal: this.terminal?.path,
      cgroup: this.group?.domain?.folder,
      more: this.#more,
    });
  }

  #spawn(): number {
    const arranged = this.#arranged!;
    this.#arranged = undefined;
    try {
      if (this.#user) return this.#native.apartFromKeys(() => this.#native.spawn(arranged));
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
    this.#close();
    this.tree.release();
    this.group?.release();
  }

  #close(): void {
    this.#closeTheirs();
    if (this.#arranged) this.#native.discard(this.#arranged);
    this.#arranged = undefined;
    for (const { source } of this.outputs) source.close();
    this.outputs.length = 0;
    this.terminal?.release();
    for (const fd of [this.input, this.report]) if (fd >= 0) this.#native.close(fd);
    this.input = -1;
    this.report = -1;
  }
}

/** Where a command starts: a relative folder is one below its user's home. */
function folderOf(cwd: Uint8Array | undefined, home: string): Uint8Array {
  if (!cwd) return Buffer.from(home);
  return cwd[0] === SLASH ? cwd : Buffer.concat([Buffer.from(`${home}/`), cwd]);
}

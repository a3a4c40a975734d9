/** Starts a command: everything that can fail is done before its intent is synced, so that little is left after. */
import { closeSync } from 'node:fs';
import { STREAM, type Spec } from '../protocol/messages.js';
import { buildEnvironment, type Account } from './environment.js';
import { findProgram, openFolder, startFailure } from './program.js';
import { SystemError, type Native, type Words } from './syscalls.js';
import type { Tree } from './tree.js';

const SHELL = Buffer.from('/bin/sh\0');

export interface OpenedStream {
  readonly stream: number;
  readonly fd: number;
}

/** A command ready to start: descriptors open, program found, words laid out. */
export class Launch {
  readonly #native: Native;
  readonly #name: Uint8Array;
  readonly #argv: readonly Uint8Array[];
  readonly #env: readonly Uint8Array[];
  readonly #words: Words;
  readonly #cwd: number;
  readonly #path: Buffer;
  /** Ends the child gets; closed here once it has them. */
  readonly #theirs: number[] = [];
  #handedOver = false;
  readonly #stdin: number;
  readonly #stdout: number;
  readonly #stderr: number;
  /** Our ends. */
  readonly outputs: OpenedStream[] = [];
  input = -1;

  /** Throws StartFailure, or SystemError when descriptors run out. Nothing stays open then. */
  constructor(native: Native, spec: Spec, runId: string, account: Account, devNull: number) {
    this.#native = native;
    const { pairs, path } = buildEnvironment(account, spec.env, runId, spec.pty?.term);
    this.#env = pairs;
    this.#cwd = openFolder(native, spec.cwd ?? Buffer.from(account.home));
    try {
      if (spec.verb === 'sh') {
        this.#name = SHELL.subarray(0, -1);
        this.#path = SHELL;
        this.#argv = [Buffer.from('sh'), Buffer.from('-c'), spec.script!];
      } else {
        this.#name = spec.argv[0]!;
        this.#path = findProgram(native, this.#name, path, this.#cwd);
        this.#argv = spec.argv;
      }
      this.#words = native.words(this.#argv, pairs);
      this.#stdin = spec.stdin ? this.#pipeIn() : devNull;
      this.#stdout = this.#pipeOut(STREAM.stdout);
      this.#stderr = spec.capture === 'merged' ? this.#stdout : this.#pipeOut(STREAM.stderr);
    } catch (error) {
      this.abandon();
      throw error;
    }
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
    this.outputs.push({ stream, fd: read });
    return write;
  }

  /** The resolved program. */
  get program(): Buffer {
    return this.#path.subarray(0, -1);
  }

  /** Starts it and returns its pid. Throws StartFailure; our ends are closed then. */
  go(tree: Tree): number {
    try {
      return tree.within(() => this.#spawn(this.#path, this.#words));
    } catch (error) {
      this.abandon();
      if (error instanceof SystemError) throw startFailure(this.#name, error.errno);
      throw error;
    } finally {
      this.#closeTheirs();
    }
  }

  #spawn(path: Buffer, words: Words): number {
    try {
      return this.#native.spawn({
        path,
        words,
        cwd: this.#cwd,
        stdin: this.#stdin,
        stdout: this.#stdout,
        stderr: this.#stderr,
      });
    } catch (error) {
      if (!(error instanceof SystemError) || error.errno !== 'ENOEXEC' || path === SHELL) throw error;
      // A script without "#!" is run by the shell, as execvp does.
      const argv = [Buffer.from('/bin/sh'), this.program, ...this.#argv.slice(1)];
      return this.#spawn(SHELL, this.#native.words(argv, this.#env));
    }
  }

  #closeTheirs(): void {
    if (this.#handedOver) return;
    this.#handedOver = true;
    for (const fd of this.#theirs) this.#native.close(fd);
    closeSync(this.#cwd);
  }

  /** Closes everything: the command will not start. */
  abandon(): void {
    this.#closeTheirs();
    for (const { fd } of this.outputs) this.#native.close(fd);
    this.outputs.length = 0;
    if (this.input >= 0) this.#native.close(this.input);
    this.input = -1;
  }
}

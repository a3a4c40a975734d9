/** What we say ourselves: on stderr, or in the file of `-E`; with `-v` each step, with `-q` nothing. */
import { closeSync, openSync, writeSync } from 'node:fs';
import { UsageError } from '../../errors.js';
import { escapeControl } from '../show/control-characters.js';
import { say } from '../show/print.js';
import { withNextStep } from '../show/scarce.js';
import type { Call } from './call.js';

export class Voice {
  readonly #quiet: boolean;
  /** Each step is told. */
  readonly verbose: boolean;
  readonly #file: number | undefined;

  /** @throws UsageError when the file cannot be opened. */
  constructor({ quiet, verbose, logFile }: Pick<Call, 'quiet' | 'verbose'> & Partial<Pick<Call, 'logFile'>>) {
    this.#quiet = quiet && !verbose;
    this.verbose = verbose;
    if (logFile) this.#file = opened(Buffer.from(logFile));
  }

  /** Why it failed. */
  fail(reason: string): void {
    if (!this.#quiet) this.#print(`sendall: ${withNextStep(reason)}`);
  }

  /** Something that its user did not ask for and should know. */
  note(what: string): void {
    if (!this.#quiet) this.#print(`sendall: ${what}`);
  }

  /** What happens, for those who asked. */
  tell(what: string): void {
    if (this.verbose) this.#print(`sendall: ${what}`);
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
  }

  #print(line: string): void {
    if (this.#file === undefined) say(line);
    else
      try {
        writeSync(this.#file, `${escapeControl(line)}\n`);
      } catch {
        // Such as a full disk: the command's end must not depend on it.
      }
  }
}

function opened(path: Buffer): number {
  try {
    return openSync(path, 'a', 0o600);
  } catch (error) {
    throw new UsageError(`-E: ${path.toString()} cannot be written: ${(error as Error).message}`);
  }
}

/** The lines a run prints about itself on our stderr, for debugging. */
import { printable } from '../../text/printable.js';
import { UsageError } from '../../errors.js';
import { callback, either, oneOf, type Rule } from './check.js';
import type { StreamName } from '../streams/output.js';
import type { Result } from '../result/result.js';

/** An event of the narration. */
export type VerboseEvent = { readonly host: string; readonly runId: string } & Told;

type Told =
  | { readonly type: 'start'; readonly program: string; readonly name: string | undefined }
  | { readonly type: 'output'; readonly stream: StreamName; readonly line: string }
  | { readonly type: 'end'; readonly result: Result };

/**
 * "none", "short": a line at the start and one at the end, "full": each line of output too. A function gets each of
 * these lines and its event; the text it returns is written instead, and undefined writes nothing. An error it throws
 * is uncaught, as with any listener.
 */
export type Verbose = 'none' | 'short' | 'full' | ((line: string, event: VerboseEvent) => string | undefined | void);

const LEVELS = ['none', 'short', 'full'] as const;

/** The allowed values of `verbose`. */
export const verboseRule: Rule = either(oneOf(...LEVELS), callback);

/**
 * The option or, without one, the level in SENDALL_VERBOSE.
 * @throws UsageError when that is not a level.
 */
export function verboseOf(option: Verbose | undefined): Verbose {
  if (option !== undefined) return option;
  const level = process.env.SENDALL_VERBOSE;
  if (!level) return 'none';
  const found = LEVELS.find((each) => each === level);
  if (!found)
    throw new UsageError(`SENDALL_VERBOSE: ${JSON.stringify(level.slice(0, 60))} is not one of ${LEVELS.join(', ')}`);
  return found;
}

/** Characters of a line of output. */
const LONGEST_LINE = 1000;
let runs = 0;

/** Narrates one run. It omits the command's arguments, which may be secret. */
export class Narrator {
  readonly #verbose: Verbose;
  readonly #about: { readonly host: string; readonly runId: string };
  readonly #number = runs++;
  readonly #began = performance.now();
  readonly #streams: Record<StreamName, { readonly decoder: InstanceType<typeof TextDecoder>; rest: string }>;

  constructor(verbose: Verbose, host: string, runId: string, encoding: string) {
    this.#verbose = verbose;
    this.#about = { host, runId };
    const stream = () => ({ decoder: new TextDecoder(encoding), rest: '' });
    this.#streams = { stdout: stream(), stderr: stream() };
  }

  /** Output is narrated too. */
  get isFull(): boolean {
    return this.#verbose !== 'short';
  }

  start(program: string, name: string | undefined): void {
    const called = name === undefined ? '' : ` "${printable(name)}"`;
    const { runId } = this.#about;
    this.#tell(`$ ${printable(program, 100)}${called} (run ${runId})`, { type: 'start', program, name });
  }

  output(stream: StreamName, bytes: Buffer): void {
    const state = this.#streams[stream];
    const lines = (state.rest + state.decoder.decode(bytes, { stream: true })).split(/\r?\n/);
    state.rest = lines.pop()!.slice(0, LONGEST_LINE + 1);
    for (const line of lines) this.#line(stream, line);
  }

  end(result: Result): void {
    if (this.isFull)
      for (const stream of ['stdout', 'stderr'] as const) {
        const { rest } = this.#streams[stream];
        if (rest) this.#line(stream, rest);
      }
    const took = Math.round(performance.now() - this.#began);
    this.#tell(`${result.ok ? '✔' : '✘'} ${printable(result.reason)} (${took} ms)`, { type: 'end', result });
  }

  #line(stream: StreamName, line: string): void {
    const mark = stream === 'stderr' ? '2>' : ' >';
    this.#tell(`${mark} ${printable(line.replaceAll('\t', ' '), LONGEST_LINE)}`, { type: 'output', stream, line });
  }

  #tell(text: string, event: Told): void {
    const now = new Date();
    const time = `${now.toTimeString().slice(0, 8)}.${String(now.getMilliseconds()).padStart(3, '0')}`;
    const line = `[${time}] [${this.#number}] ${printable(this.#about.host)} ${text}`;
    if (typeof this.#verbose !== 'function') {
      process.stderr.write(`${line}\n`);
      return;
    }
    try {
      const told = this.#verbose(line, { ...this.#about, ...event });
      if (typeof told === 'string') process.stderr.write(`${told}\n`);
    } catch (error) {
      // An error in the caller's function must not end the link, so it is thrown outside, as in any listener.
      queueMicrotask(() => {
        throw error;
      });
    }
  }
}

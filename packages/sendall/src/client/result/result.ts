/** The result of a run, and the error that carries one. A failure has the shape of a result. */
import { stripVTControlCharacters, type InspectOptions } from 'node:util';
import { SendallError } from '../../errors.js';
import { printable } from '../../text/printable.js';
import type { ProcessInfo } from '../../protocol/messages.js';
import type { SharedOutput } from './shared-output.js';

/** How a run ended. */
export type Outcome =
  | 'ok'
  | 'failed'
  | 'signalled'
  | 'timeout'
  | 'idle'
  | 'cancelled'
  | 'limits'
  | 'refused'
  | 'unreachable'
  | 'expired'
  | 'lost'
  | 'truncated'
  | 'conflict'
  /** The command's end is known, but the host's log was cut or rewritten. */
  | 'rewritten';

/** Bytes of a stream that the host dropped: offsets `from` (inclusive) to `to` (exclusive). */
export interface Gap {
  readonly stream: 'stdout' | 'stderr';
  readonly from: number;
  readonly to: number;
  readonly reason: string;
  /** stdout without its final newline. */
  toString(): string;
}

/** A process of the run that a kill did not end. */
export interface Survivor {
  readonly pid: number;
  readonly argv: readonly string[];
}

/** `${result}` gives its stdout without the final newline. */
export interface Result {
  /** The command ended with code 0, and every byte up to the drained offsets arrived. */
  readonly ok: boolean;
  readonly outcome: Outcome;
  /**
   * Why the host ended the command, where the outcome does not say it: "oom" with outcome limits, when it needed more
   * memory than its limit.
   */
  readonly cause?: string | undefined;
  /** The command's own exit code; undefined when a signal ended it or its end is unknown. */
  readonly code: number | undefined;
  /** "SIGKILL" and so on. */
  readonly signal: string | undefined;
  readonly runId: string;
  readonly host: string;
  /**
   * Collected output, decoded with the run's encoding. With the run's `stripFinalNewline` true it lacks the final
   * newline. Empty for a stream that was read during the run.
   */
  readonly stdout: string;
  readonly stderr: string;
  /** Collected output, byte for byte. */
  readonly raw: { readonly stdout: Buffer; readonly stderr: Buffer };
  /**
   * In a gathered fleet run: the host whose stdout was received and hashed in place of this host's, because both digests
   * are equal. `stdout` and `raw.stdout` are then shared by both results.
   */
  readonly stdoutFrom?: string | undefined;
  readonly stderrFrom?: string | undefined;
  /** Bytes received of each stream, gaps included. */
  readonly finals: { readonly stdout: number; readonly stderr: number };
  readonly sha256: { readonly stdout: string | undefined; readonly stderr: string | undefined };
  readonly gaps: readonly Gap[];
  readonly survivors: readonly Survivor[];
  /** "cgroup": the kill certainly reached the whole tree; "unproven": it reached every process we could see. */
  readonly killProof: string | undefined;
  readonly rusage: { readonly userUs: number; readonly systemUs: number; readonly maxRssKb: number } | undefined;
  readonly timing: {
    readonly openedMs: number;
    readonly startMs: number | undefined;
    readonly endMs: number | undefined;
    readonly durationMs: number;
  };
  /** SHA-256 of the spec as sent, hexadecimal. */
  readonly specHash: string;
  /**
   * The record of the command's end in the host's log: its index, and the log's last head that was on disk, as the number
   * of records and their root (base64). With `syncLog` that head covers the record. Undefined without an end or a log.
   */
  readonly log: { readonly index: number; readonly size: number; readonly head: string } | undefined;
  /** Why a run was refused: nofile, notexec, nocwd, policy, … */
  readonly refusal: string | undefined;
  /** One sentence for people: what happened and, if possible, what to do next. */
  readonly reason: string;
}

type Inspect = (value: unknown, options: InspectOptions) => string;
/** Where util.inspect and console.log look. */
const INSPECT = Symbol.for('nodejs.util.inspect.custom');

/**
 * The error of a run that was not ok. Its message gives the reason, the host and, if the run was started here, the
 * program; the last lines of stderr follow. It omits the command's other arguments.
 */
export class RunError extends SendallError {
  readonly result: Result;
  /** The message without the lines of stderr. */
  readonly shortMessage: string;
  /** The policy rule that refused the run. */
  readonly rule: string | undefined;
  /** Trying again may help: nothing has started. */
  readonly retryable: boolean;

  constructor(
    result: Result,
    options: {
      program?: string | undefined;
      rule?: string | undefined;
      retryable?: boolean;
      encoding?: string;
      cause?: unknown;
    } = {},
  ) {
    const { outcome, reason, host } = result;
    const where = options.program === undefined ? host : `${host}: ${printable(options.program, 100)}`;
    const shortMessage = `${reason} (${where})`;
    const message = [shortMessage, ...lastLines(result.raw.stderr, options.encoding)].join('\n');
    super(outcome.toUpperCase(), message, options.cause === undefined ? {} : { cause: options.cause });
    this.result = result;
    this.shortMessage = shortMessage;
    this.rule = options.rule;
    this.retryable = options.retryable ?? false;
  }

  [INSPECT](depth: number, options: InspectOptions, inspect: Inspect): string {
    const { code, result, rule, retryable, cause } = this;
    const { host, runId } = result;
    const more = { code, host, runId, exitCode: result.code, signal: result.signal, rule, retryable, cause };
    return `${this.stack ?? String(this)} ${depth < 0 ? '' : inspect(given(more), options)}`.trimEnd();
  }
}

/**
 * Limits of the stderr excerpt in an error's message: lines, characters a line, and bytes of the end it is taken from.
 */
const LAST_LINES = 10;
const LONGEST_LINE = 200;
const TAIL = 4096;

/** The end of stderr, safe to print: without colours, with other control characters shown as text. */
function lastLines(stderr: Buffer, encoding = 'utf-8'): string[] {
  const lines = new TextDecoder(encoding).decode(stderr.subarray(-TAIL)).split(/\r\n|[\n\r]/);
  // The first line may be cut.
  if (stderr.length > TAIL && lines.length > 2) lines.shift();
  return lines
    .map((line) => printable(stripVTControlCharacters(line).replaceAll('\t', ' ').trimEnd(), LONGEST_LINE))
    .filter((line) => line !== '')
    .slice(-LAST_LINES);
}

/** The fields that are defined. */
function given(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined && value !== false));
}

/** Limits of what inspect() shows of each stream: characters and lines. */
const MOST_SHOWN = 200;
const MOST_LINES = 5;

function shownText(text: () => string, bytes: number): string | undefined {
  if (bytes === 0) return undefined;
  if (bytes > SHORT) return `<${bytes} bytes>`;
  const all = text();
  const cut = all
    .slice(0, MOST_SHOWN)
    .split(/(?<=\n)/, MOST_LINES)
    .join('');
  return cut.length < all.length ? `${cut}… <${bytes} bytes>` : all;
}

/** Methods of results. They sit on a prototype, so that a result's own properties are just its fields. */
const RESULT = {
  toString(this: Result): string {
    return withoutNewline(this.stdout);
  },
  [INSPECT](this: Result, depth: number, options: InspectOptions, inspect: Inspect): string {
    if (depth < 0) return '[Result]';
    const { outcome, code, signal, host, runId, raw, gaps, survivors, timing } = this;
    const fields = {
      outcome,
      code,
      signal,
      host,
      runId,
      stdout: shownText(() => this.stdout, raw.stdout.length),
      stderr: shownText(() => this.stderr, raw.stderr.length),
      gaps: gaps.length || undefined,
      survivors: survivors.length || undefined,
      durationMs: timing.durationMs,
      reason: outcome === 'ok' ? undefined : this.reason,
    };
    return `Result ${inspect(given(fields), options)}`;
  },
};

/** Gives an object with the fields of a result its methods. */
export function asResult<T extends object>(fields: T): T {
  return Object.setPrototypeOf(fields, RESULT) as T;
}

/** `text` without one final LF or CR LF. */
export function withoutNewline(text: string): string {
  return text.endsWith('\n') ? text.slice(0, text.endsWith('\r\n') ? -2 : -1) : text;
}

/** Results without their stdout. */
const incomplete = new WeakSet<object>();

/** Marks a result whose stdout was streamed or redirected: a template cannot use it. */
export function markUncollected(result: Result): void {
  incomplete.add(result);
}

/**
 * What a template gets from a result: stdout byte for byte, without its final newline; undefined if it was not
 * collected.
 */
export function insertedBytes(result: Result): Uint8Array | undefined {
  if (incomplete.has(result) || ['truncated', 'lost'].includes(result.outcome)) return undefined;
  const { stdout } = result.raw;
  if (stdout.at(-1) !== 0x0a) return stdout;
  return stdout.subarray(0, stdout.at(-2) === 0x0d ? -2 : -1);
}

/** True for a run's own result, and for any object with the same fields. */
export function isResult(value: unknown): value is Result {
  return typeof value === 'object' && value !== null && 'runId' in value && 'raw' in value && 'outcome' in value;
}

/** Longer output is decoded only on demand. */
const SHORT = 64 * 1024;

/**
 * Adds the decoded texts. If a stream was `cut`, the partial character at its end is dropped. A `shared` one is decoded
 * once.
 */
export function addTexts(
  result: { stdout: string; stderr: string; raw: Result['raw'] },
  encoding: string,
  cut: { readonly stdout: boolean; readonly stderr: boolean },
  stripFinalNewline: boolean,
  shared: { readonly stdout: SharedOutput | undefined; readonly stderr: SharedOutput | undefined },
): void {
  for (const stream of ['stdout', 'stderr'] as const) {
    const bytes = result.raw[stream];
    const decodeBytes = (): string => {
      const text = new TextDecoder(encoding, { ignoreBOM: true }).decode(bytes, { stream: cut[stream] });
      return stripFinalNewline ? withoutNewline(text) : text;
    };
    const decode = (): string => shared[stream]?.text(decodeBytes) ?? decodeBytes();
    if (bytes.length > SHORT) {
      let text: string | undefined;
      // Not for every result: creating an object with own accessors takes as long as all the rest of it.
      Object.defineProperty(result, stream, { get: () => (text ??= decode()), enumerable: true });
    } else if (bytes.length > 0) result[stream] = decode();
  }
}

export function survivorsOf(list: readonly ProcessInfo[]): Survivor[] {
  return list.map(({ pid, argv }) => ({ pid, argv: argv.map((word) => Buffer.from(word).toString()) }));
}

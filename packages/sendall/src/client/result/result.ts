/** What happened to a run: a result, and the error that carries one. A failure has the shape of a result. */
import { stripVTControlCharacters, type InspectOptions } from 'node:util';
import { SendallError } from '../../errors.js';
import { printable } from '../../text/printable.js';
import type { ProcessInfo } from '../../protocol/messages.js';

/** What became of a run. */
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
  | 'conflict';

/** Bytes of a stream that the host had to drop: offsets `from` (inclusive) to `to` (exclusive). */
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

/** `${result}` is its stdout without the final newline. */
export interface Result {
  /** The command ended with code 0, and every byte up to the drained offsets arrived. */
  readonly ok: boolean;
  readonly outcome: Outcome;
  /** The command's own exit code; undefined when it died by a signal or its end is not known. */
  readonly code: number | undefined;
  /** "SIGKILL" and so on. */
  readonly signal: string | undefined;
  readonly runId: string;
  readonly host: string;
  /**
   * Collected output, decoded with the run's encoding; without its final newline when the run's `stripFinalNewline` is
   * true. Empty for a stream that was read while it ran.
   */
  readonly stdout: string;
  readonly stderr: string;
  /** Collected output as it came, byte for byte. */
  readonly raw: { readonly stdout: Buffer; readonly stderr: Buffer };
  /** Bytes of each stream that were received, gaps counted. */
  readonly finals: { readonly stdout: number; readonly stderr: number };
  readonly sha256: { readonly stdout: string | undefined; readonly stderr: string | undefined };
  readonly gaps: readonly Gap[];
  readonly survivors: readonly Survivor[];
  /** "cgroup": a kill reached the whole tree for certain; "unproven": as far as could be seen. */
  readonly killProof: string | undefined;
  readonly rusage: { readonly userUs: number; readonly systemUs: number; readonly maxRssKb: number } | undefined;
  readonly timing: {
    readonly openedMs: number;
    readonly startMs: number | undefined;
    readonly endMs: number | undefined;
    readonly durationMs: number;
  };
  /** SHA-256 of the spec as it was sent, hexadecimal. */
  readonly specHash: string;
  /** Why a run was refused: nofile, notexec, nocwd, policy, … */
  readonly refusal: string | undefined;
  /** One sentence for people: what happened, and the next step where there is one. */
  readonly reason: string;
}

type Inspect = (value: unknown, options: InspectOptions) => string;
/** Where util.inspect and console.log look. */
const INSPECT = Symbol.for('nodejs.util.inspect.custom');

/**
 * A run whose result is not ok. Its message says why, where, and, when it was started here, of which program; then come
 * the last lines of stderr. The command's other words are not in it.
 */
export class RunError extends SendallError {
  readonly result: Result;
  /** The message without the lines of stderr. */
  readonly shortMessage: string;
  /** The policy rule that refused. */
  readonly rule: string | undefined;
  /** Trying again may help: nothing was started. */
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

/** Lines of stderr in an error's message, characters of each, and the bytes at its end that are looked at. */
const LAST_LINES = 10;
const LONGEST_LINE = 200;
const TAIL = 4096;

/** The end of stderr, safe to show: no colours, other control characters as text. */
function lastLines(stderr: Buffer, encoding = 'utf-8'): string[] {
  const lines = new TextDecoder(encoding).decode(stderr.subarray(-TAIL)).split(/\r\n|[\n\r]/);
  // Its beginning was cut off.
  if (stderr.length > TAIL && lines.length > 2) lines.shift();
  return lines
    .map((line) => printable(stripVTControlCharacters(line).replaceAll('\t', ' ').trimEnd(), LONGEST_LINE))
    .filter((line) => line !== '')
    .slice(-LAST_LINES);
}

/** Without what is not there. */
function given(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined && value !== false));
}

/** Characters of each stream that inspect() shows, and lines. */
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

/** What results can do; it is theirs as a prototype, so that their fields are their own and nothing else is. */
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

/** Makes the fields of a result a result. */
export function asResult<T extends object>(fields: T): T {
  return Object.setPrototypeOf(fields, RESULT) as T;
}

/** Without one LF or CR LF at the end. */
export function withoutNewline(text: string): string {
  return text.endsWith('\n') ? text.slice(0, text.endsWith('\r\n') ? -2 : -1) : text;
}

/** Results without their stdout. */
const incomplete = new WeakSet<object>();

/** Marks a result whose stdout was read as a stream, or went elsewhere: it has nothing to put into a template. */
export function markUncollected(result: Result): void {
  incomplete.add(result);
}

/** What a result puts into a template: stdout byte for byte, without its final newline; undefined when it was not kept. */
export function insertedBytes(result: Result): Uint8Array | undefined {
  if (incomplete.has(result) || ['truncated', 'lost'].includes(result.outcome)) return undefined;
  const { stdout } = result.raw;
  if (stdout.at(-1) !== 0x0a) return stdout;
  return stdout.subarray(0, stdout.at(-2) === 0x0d ? -2 : -1);
}

/** A run's own result, or one with the same fields. */
export function isResult(value: unknown): value is Result {
  return typeof value === 'object' && value !== null && 'runId' in value && 'raw' in value && 'outcome' in value;
}

/** Longer output becomes text only when it is asked for. */
const SHORT = 64 * 1024;

/** Decodes what was collected. Of a stream that was `cut`, the beginning of a last character is left out. */
export function addTexts(
  result: { stdout: string; stderr: string; raw: Result['raw'] },
  encoding: string,
  cut: { readonly stdout: boolean; readonly stderr: boolean },
  stripFinalNewline: boolean,
): void {
  for (const stream of ['stdout', 'stderr'] as const) {
    const bytes = result.raw[stream];
    const decode = (): string => {
      const text = new TextDecoder(encoding, { ignoreBOM: true }).decode(bytes, { stream: cut[stream] });
      return stripFinalNewline ? withoutNewline(text) : text;
    };
    if (bytes.length > SHORT) {
      let text: string | undefined;
      // Not for every result: an object with accessors of its own takes as long to make as all the rest of it.
      Object.defineProperty(result, stream, { get: () => (text ??= decode()), enumerable: true });
    } else if (bytes.length > 0) result[stream] = decode();
  }
}

export function survivorsOf(list: readonly ProcessInfo[]): Survivor[] {
  return list.map(({ pid, argv }) => ({ pid, argv: argv.map((word) => Buffer.from(word).toString()) }));
}

/** What happened to a run: a result, and the error that carries one. A failure has the shape of a result. */
import { SendallError } from '../errors.js';
import { printable } from '../link/printable.js';
import type { Exit, ProcessInfo } from '../protocol/messages.js';

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
}

/** A process of the run that a kill did not end. */
export interface Survivor {
  readonly pid: number;
  readonly argv: readonly string[];
}

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
  /** Collected output, decoded with the run's encoding. Empty for a stream that was read while it ran. */
  readonly stdout: string;
  readonly stderr: string;
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

/** A run whose result is not ok. Its message says why, where, and, when it was started here, of which program. */
export class RunError extends SendallError {
  readonly result: Result;
  /** The policy rule that refused. */
  readonly rule: string | undefined;
  /** Trying again may help: nothing was started. */
  readonly retryable: boolean;

  constructor(
    result: Result,
    options: { program?: string | undefined; rule?: string | undefined; retryable?: boolean; cause?: unknown } = {},
  ) {
    const { outcome, reason, host } = result;
    const where = options.program === undefined ? host : `${host}: ${printable(options.program, 100)}`;
    super(outcome.toUpperCase(), `${reason} (${where})`, options.cause === undefined ? {} : { cause: options.cause });
    this.result = result;
    this.rule = options.rule;
    this.retryable = options.retryable ?? false;
  }
}

/** Longer output becomes text only when somebody asks for it. */
const SHORT = 64 * 1024;

/** Decodes what was collected. Of a stream that was `cut`, the beginning of a last character is left out. */
export function addTexts(
  result: { stdout: string; stderr: string; raw: Result['raw'] },
  encoding: string,
  cut: { readonly stdout: boolean; readonly stderr: boolean },
): void {
  for (const stream of ['stdout', 'stderr'] as const) {
    const bytes = result.raw[stream];
    const decode = (): string => new TextDecoder(encoding, { ignoreBOM: true }).decode(bytes, { stream: cut[stream] });
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

/** What an exit means, when all of the output is here. */
export function verdict(exit: Exit, gaps: readonly Gap[]): [Outcome, string] {
  const causes: Record<string, Outcome> = {
    timeout: 'timeout',
    idle: 'idle',
    cancelled: 'cancelled',
    limits: 'limits',
    lost: 'lost',
  };
  if (exit.cause) {
    const because = exit.reason ? `: ${exit.reason}` : '';
    return [causes[exit.cause] ?? 'failed', `the command was ended (${exit.cause})${because}`];
  }
  if (gaps.length) return ['truncated', `bytes of the output were dropped on the host (${gaps[0]!.reason})`];
  if (exit.signal) return ['signalled', `the command died by ${exit.signal}`];
  if (exit.code === 0) return ['ok', 'the command ended with code 0'];
  return ['failed', `the command ended with code ${exit.code}`];
}

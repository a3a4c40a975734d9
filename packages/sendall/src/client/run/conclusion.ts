/**
 * How a run's end is decided: when it is there, what its outcome is and why, what its result holds and which error stands
 * for it. The run says what happened; here is what that amounts to.
 */
import type { Exit, MessageNamed, Spec, Started } from '../../protocol/messages.js';
import type { PreparedRun } from '../options/options.js';
import {
  addTexts,
  asResult,
  markUncollected,
  RunError,
  survivorsOf,
  type Gap,
  type Outcome,
  type Result,
} from '../result/result.js';
import type { Output } from '../streams/output.js';

/** How a run ended, and a sentence for people. */
export type Conclusion = readonly [outcome: Outcome, reason: string];

/** What is known of a command's end, and of its output's. */
export interface Ends {
  readonly exit: Exit | undefined;
  /** Every byte up to the drained offsets is here. */
  readonly drained: boolean;
  /** No stream can bring anything more. */
  readonly allEnded: boolean;
  /** The last process of the tree is gone. */
  readonly treeEnd: boolean;
  /** A stream whose checksum does not match. */
  readonly corrupt: number | undefined;
}

/** Whether that is the end that the caller waits for. */
export function isOver({ exit, drained, allEnded, treeEnd }: Ends, waitFor: PreparedRun['waitFor']): boolean {
  if (!exit) return false;
  // What is lost has no end to wait for.
  if (exit.cause === 'lost' && drained) return true;
  if (waitFor === 'exit') return drained;
  return allEnded && (waitFor === 'eof' || treeEnd);
}

/** What a run came to whose end is there. `overflowed`: the `maxBuffer` that its output was above. */
export function conclude(
  exit: Exit,
  corrupt: number | undefined,
  overflowed: number | undefined,
  gaps: readonly Gap[],
): Conclusion {
  if (corrupt !== undefined)
    return ['truncated', `the checksum of stream ${corrupt} does not match: bytes were changed on the way`];
  return overflowed === undefined ? verdict(exit, gaps) : overflow(overflowed);
}

export function overflow(maxBuffer: number): Conclusion {
  return ['truncated', `the output is above maxBuffer (${maxBuffer} bytes): read the run as a stream`];
}

const CAUSES: Readonly<Record<string, Outcome>> = {
  timeout: 'timeout',
  idle: 'idle',
  cancelled: 'cancelled',
  limits: 'limits',
  lost: 'lost',
};

/** What an exit means, when all of the output is here. */
function verdict(exit: Exit, gaps: readonly Gap[]): Conclusion {
  if (exit.cause) {
    const because = exit.reason ? `: ${exit.reason}` : '';
    return [CAUSES[exit.cause] ?? 'failed', `the command was ended (${exit.cause})${because}`];
  }
  if (gaps.length) return ['truncated', `bytes of the output were dropped on the host (${gaps[0]!.reason})`];
  if (exit.signal) return ['signalled', `the command died by ${exit.signal}`];
  if (exit.code === 0) return ['ok', 'the command ended with code 0'];
  return ['failed', `the command ended with code ${exit.code}`];
}

const REFUSALS: Readonly<Record<string, Outcome>> = {
  conflict: 'conflict',
  expired: 'expired',
  unknown: 'lost',
  cancelled: 'cancelled',
};

/** What a refusal by the host comes to. */
export function refusal({ code, message }: MessageNamed<'REFUSED'>): Conclusion {
  return [REFUSALS[code] ?? 'refused', message];
}

/** A run that is cancelled after its command has ended. */
export const CANCELLED_WHILE_WRITING: Conclusion = [
  'cancelled',
  'cancelled by the caller while its output was being written',
];

/** Why a run came to nothing, beside its outcome. */
export interface Failure {
  readonly cause?: Error | undefined;
  readonly refused?: MessageNamed<'REFUSED'> | undefined;
}

/** What happened, for the result to tell. */
export interface Account {
  readonly host: string;
  readonly runId: string;
  readonly prepared: PreparedRun;
  readonly exit: Exit | undefined;
  readonly started: Started | undefined;
  /** This machine's clock, in milliseconds since the epoch. */
  readonly openedAt: number;
  readonly endedAt: number | undefined;
  readonly stdout: Output;
  readonly stderr: Output;
  readonly gaps: readonly Gap[];
  readonly specHash: string;
  readonly failure: Failure;
}

export function resultOf([outcome, reason]: Conclusion, account: Account): Result {
  const { host, runId, prepared, exit, started, openedAt, endedAt, stdout, stderr, gaps, specHash, failure } = account;
  const result = asResult({
    ok: outcome === 'ok',
    outcome,
    code: exit?.signal ? undefined : exit?.code,
    signal: exit?.signal,
    runId,
    host,
    stdout: '',
    stderr: '',
    raw: { stdout: stdout.collected(), stderr: stderr.collected() },
    finals: { stdout: stdout.inbound.next, stderr: stderr.inbound.next },
    sha256: { stdout: stdout.inbound.sha256, stderr: stderr.inbound.sha256 },
    gaps,
    survivors: survivorsOf(exit?.survivors ?? []),
    killProof: exit?.killProof,
    rusage:
      exit?.userUs === undefined
        ? undefined
        : { userUs: exit.userUs, systemUs: exit.systemUs ?? 0, maxRssKb: exit.maxRssKb ?? 0 },
    timing: {
      openedMs: openedAt,
      startMs: exit?.startMs ?? started?.startMs,
      endMs: exit?.endMs,
      durationMs: exit ? exit.endMs - exit.startMs : (endedAt ?? Date.now()) - openedAt,
    },
    specHash,
    refusal: failure.refused?.code,
    reason,
  });
  const cut = { stdout: stdout.isCut, stderr: stderr.isCut };
  addTexts(result, prepared.encoding, cut, prepared.stripFinalNewline ?? false);
  if (!stdout.collects) markUncollected(result);
  return result;
}

/** The error that stands for a result that is not ok. `program`: undefined for a run that others opened. */
export function errorOf(
  result: Result,
  {
    program,
    encoding,
    refused,
    cause,
  }: { program: string | undefined; encoding: string; refused: Failure['refused']; cause: unknown },
): RunError {
  return new RunError(result, {
    program,
    rule: refused?.rule,
    encoding,
    retryable: result.outcome === 'unreachable' || refused?.code === 'busy',
    cause,
  });
}

/** Without its words, which may hold what is not for logs. */
export function programOf({ verb, argv }: Spec): string {
  return verb === 'sh' ? 'sh' : Buffer.from(argv[0]!).toString();
}

/**
 * Decides a run's end: when it is reached, its outcome and reason, the contents of its result, and the matching error.
 * The run supplies the facts; this file interprets them.
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

/** The known facts about the end of a command and of its output. */
export interface Ends {
  readonly exit: Exit | undefined;
  /** Every byte up to the drained offsets has arrived. */
  readonly drained: boolean;
  /** Every stream has ended or failed. */
  readonly allEnded: boolean;
  /** The last process of the tree is gone. */
  readonly treeEnd: boolean;
  /** A stream whose checksum does not match. */
  readonly corrupt: number | undefined;
}

/** Whether the end the caller waits for is reached. */
export function isOver({ exit, drained, allEnded, treeEnd }: Ends, waitFor: PreparedRun['waitFor']): boolean {
  if (!exit) return false;
  // A lost run has no other end to wait for.
  if (exit.cause === 'lost' && drained) return true;
  if (waitFor === 'exit') return drained;
  return allEnded && (waitFor === 'eof' || treeEnd);
}

/** The conclusion of a run that has ended. `overflowed`: its output exceeded `maxBuffer`. */
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
  return ['truncated', `the output exceeds maxBuffer (${maxBuffer} bytes): read the run as a stream`];
}

const CAUSES: Readonly<Record<string, Outcome>> = {
  timeout: 'timeout',
  idle: 'idle',
  cancelled: 'cancelled',
  limits: 'limits',
  oom: 'limits',
  lost: 'lost',
};

/** The conclusion from an exit, once all output has arrived. */
function verdict(exit: Exit, gaps: readonly Gap[]): Conclusion {
  if (exit.cause) {
    const because = exit.reason ? `: ${exit.reason}` : '';
    return [CAUSES[exit.cause] ?? 'failed', `the command was ended (${exit.cause})${because}`];
  }
  if (gaps.length) return ['truncated', `bytes of the output were dropped on the host (${gaps[0]!.reason})`];
  if (exit.signal) return ['signalled', `the command was killed by ${exit.signal}`];
  if (exit.code === 0) return ['ok', 'the command ended with code 0'];
  return ['failed', `the command ended with code ${exit.code}`];
}

const REFUSALS: Readonly<Record<string, Outcome>> = {
  conflict: 'conflict',
  expired: 'expired',
  unknown: 'lost',
  cancelled: 'cancelled',
};

/** The conclusion from a refusal by the host. */
export function refusal({ code, message }: MessageNamed<'REFUSED'>): Conclusion {
  return [REFUSALS[code] ?? 'refused', message];
}

/** For a run cancelled after its command has ended. */
export const CANCELLED_WHILE_WRITING: Conclusion = [
  'cancelled',
  'cancelled by the caller while its output was being written',
];

/** Why a run failed, besides its outcome. */
export interface Failure {
  readonly cause?: Error | undefined;
  readonly refused?: MessageNamed<'REFUSED'> | undefined;
}

/** What the result reports. */
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
    cause: exit?.cause === outcome ? undefined : exit?.cause,
    runId,
    host,
    stdout: '',
    stderr: '',
    raw: { stdout: stdout.collected(), stderr: stderr.collected() },
    stdoutFrom: stdout.from,
    stderrFrom: stderr.from,
    finals: { stdout: stdout.inbound.next, stderr: stderr.inbound.next },
    sha256: { stdout: stdout.sha256, stderr: stderr.sha256 },
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
    log: exit?.log && {
      index: exit.log.index,
      size: exit.log.size,
      head: Buffer.from(exit.log.head).toString('base64'),
    },
    refusal: failure.refused?.code,
    reason,
  });
  const cut = { stdout: stdout.isCut, stderr: stderr.isCut };
  addTexts(result, prepared.encoding, cut, prepared.stripFinalNewline ?? false, {
    stdout: stdout.shared,
    stderr: stderr.shared,
  });
  if (!stdout.collects) markUncollected(result);
  return result;
}

/** The error for a result that is not ok. `program`: undefined for a run that others opened. */
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

/** The program's name, without its arguments, which may be secret. */
export function programOf({ verb, argv }: Spec): string {
  return verb === 'exec' ? Buffer.from(argv[0]!).toString() : verb;
}

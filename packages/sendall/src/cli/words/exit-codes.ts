/** The process's exit codes, besides the command's own. */
import { constants } from 'node:os';
import type { Outcome, Result, TransferResult } from '../../index.js';
import { signalNumber } from '../../internal.js';

export const EXIT = {
  ok: 0,
  usage: 200,
  unreachable: 201,
  refused: 202,
  timeout: 203,
  cancelled: 204,
  lost: 205,
  truncated: 206,
  notStarted: 207,
  conflict: 208,
  rewritten: 209,
  /** The codes shells show for a program that died of SIGHUP, SIGINT, SIGTERM or SIGPIPE. */
  hungUp: 128 + constants.signals.SIGHUP,
  interrupted: 128 + constants.signals.SIGINT,
  terminated: 128 + constants.signals.SIGTERM,
  brokenPipe: 128 + constants.signals.SIGPIPE,
} as const;

const byOutcome: Partial<Record<Outcome, number>> = {
  timeout: EXIT.timeout,
  idle: EXIT.timeout,
  cancelled: EXIT.cancelled,
  limits: EXIT.truncated,
  refused: EXIT.refused,
  unreachable: EXIT.unreachable,
  expired: EXIT.refused,
  lost: EXIT.lost,
  truncated: EXIT.truncated,
  conflict: EXIT.conflict,
  rewritten: EXIT.rewritten,
};

/** The exit code for one host's result: the command's own code, if it has one. */
export function exitCodeOf(result: Result): number {
  if (result.refusal === 'nofile') return 127;
  if (result.refusal === 'notexec') return 126;
  if (result.outcome === 'signalled') return 128 + (signalNumber(result.signal ?? '') ?? 0);
  return byOutcome[result.outcome] ?? result.code ?? EXIT.lost;
}

/** The exit code for a transfer with one host: 1 when a file failed. */
export function exitCodeOfTransfer({ ok, outcome }: TransferResult): number {
  return ok ? EXIT.ok : (byOutcome[outcome] ?? 1);
}

/** By code, not by class: the agent's modules may be another copy of these. */
const byCode: Readonly<Record<string, number>> = {
  USAGE: EXIT.usage,
  UNREACHABLE: EXIT.unreachable,
  REFUSED: EXIT.refused,
  KEY_CHANGED: EXIT.refused,
  PROTOCOL: EXIT.unreachable,
  UNKNOWN: EXIT.lost,
  REWRITTEN: EXIT.rewritten,
};

/** The exit code for an error. */
export function exitCodeOfError(error: unknown): number {
  const { code } = error as { code?: unknown };
  return (typeof code === 'string' && byCode[code]) || 1;
}

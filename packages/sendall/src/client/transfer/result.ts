/** The result of a transfer, its events, and the error that carries a result. */
import type { InspectOptions } from 'node:util';
import { SendallError } from '../../errors.js';
import { printable } from '../../text/printable.js';
import { asResult, type Outcome, type Result } from '../result/result.js';

/** What became of one file, folder or link. */
export interface TransferFile {
  /** The source's name and what lies below it, as text; bytes that are not UTF-8 are replaced. */
  readonly path: string;
  /** The same as the file system has it. */
  readonly rawPath: Uint8Array;
  /** Undefined if it is not known, or none of these. */
  readonly kind: 'file' | 'folder' | 'link' | undefined;
  readonly bytes: number;
  /** SHA-256 of the content, hexadecimal; undefined if nothing was read. */
  readonly sha256: string | undefined;
  /**
   * "placed": it is there now, or with `dryRun` would be. "same": it was there. "deleted": the source does not have it.
   * "failed": it could not be read or placed, and what was there is as it was. "skipped": a device, a FIFO or a socket,
   * which does not travel.
   */
  readonly state: 'placed' | 'same' | 'failed' | 'skipped' | 'deleted';
  /** Why it failed or was skipped. */
  readonly reason: string | undefined;
}

/** How far a transfer is. */
export interface TransferProgress {
  /** Files and links that are there. */
  readonly files: number;
  /** Bytes of content that are there, those of unfinished files included. */
  readonly bytes: number;
  /** Bytes of content that travelled. */
  readonly sent: number;
  /** Files that were there already. */
  readonly same: number;
  readonly failed: number;
  /** Bytes of the whole; undefined while the source is still being listed. */
  readonly totalBytes: number | undefined;
  /** The last file that came to its end. */
  readonly path: string | undefined;
}

/** A file that failed. */
export interface TransferProblem {
  readonly path: string;
  readonly reason: string;
}

/** The result of a transfer. */
export interface TransferResult {
  /** Every file is there, and the end of its run was seen. */
  readonly ok: boolean;
  /** "failed": files failed, or the program that moves them. All others are those of a run. */
  readonly outcome: Outcome;
  readonly host: string;
  /** The id of its last run. */
  readonly runId: string;
  /** Files and links that are there now, folders not counted. */
  readonly files: number;
  /** The bytes of these files. */
  readonly bytes: number;
  /** Bytes of content that travelled, over all tries. */
  readonly sent: number;
  /** Of the files, those that were there already. After a lost run, these may be files of that run. */
  readonly same: number;
  readonly failed: number;
  /** What `delete` removed. */
  readonly deleted: number;
  /** What did not travel, and how many files lost it: owner, xattr, acl, hardLink, setuid, time; special: devices and the like. */
  readonly leftOut: Readonly<Record<string, number>>;
  /** The first thousand files that failed. */
  readonly problems: readonly TransferProblem[];
  /** Runs that were lost before the last one. */
  readonly retries: number;
  readonly durationMs: number;
  /** Why a run was refused. */
  readonly refusal: string | undefined;
  /** One sentence for people: what happened and, if possible, what to do next. */
  readonly reason: string;
}

/** An event of a transfer. */
export type TransferEvent =
  | ({ readonly event: 'file' } & TransferFile)
  | ({ readonly event: 'progress' } & TransferProgress)
  /** The run was lost, and another one goes on. */
  | { readonly event: 'retried'; readonly runId: string; readonly reason: string }
  | { readonly event: 'result'; readonly result: TransferResult };

/** Failed files that a result names. */
export const MOST_PROBLEMS = 1000;
/** Failed files that an error's message names. */
const MOST_NAMED = 3;
/** Characters of a path in a message. */
const LONGEST_PATH = 200;

/** Where util.inspect and console.log look. */
const INSPECT = Symbol.for('nodejs.util.inspect.custom');
type Inspect = (value: unknown, options: InspectOptions) => string;

/** The error of a transfer that was not ok. Its message gives the reason, the host and the first files that failed. */
export class TransferError extends SendallError {
  readonly result: TransferResult;
  /** The message without the files. */
  readonly shortMessage: string;

  constructor(result: TransferResult, options: { cause?: unknown } = {}) {
    const shortMessage = `${result.reason} (${result.host})`;
    const named = result.problems
      .slice(0, MOST_NAMED)
      .map(({ path, reason }) => `${printable(path, LONGEST_PATH)}: ${reason}`);
    const more = result.failed > named.length && named.length ? [`and ${result.failed - named.length} more`] : [];
    super(
      result.outcome.toUpperCase(),
      [shortMessage, ...named, ...more].join('\n'),
      options.cause === undefined ? {} : { cause: options.cause },
    );
    this.result = result;
    this.shortMessage = shortMessage;
  }
}

/** What inspect() shows of a result. */
const RESULT = {
  [INSPECT](this: TransferResult, depth: number, options: InspectOptions, inspect: Inspect): string {
    if (depth < 0) return '[TransferResult]';
    const { ok, problems, retries, leftOut, deleted, refusal, reason, ...fields } = this;
    const shown = {
      ...fields,
      ...(Object.values(leftOut).some(Boolean) ? { leftOut } : {}),
      ...(deleted ? { deleted } : {}),
      ...(retries ? { retries } : {}),
      ...(problems.length ? { problems } : {}),
      ...(refusal === undefined ? {} : { refusal }),
      ...(ok ? {} : { reason }),
    };
    return `TransferResult ${inspect(shown, options)}`;
  },
};

/** Gives an object with the fields of a result its methods. */
export function asTransferResult(fields: TransferResult): TransferResult {
  return Object.setPrototypeOf(fields, RESULT) as TransferResult;
}

/** The same as the result of a run without output, for the history. */
export function asRunResult({ ok, outcome, host, runId, refusal, reason, durationMs }: TransferResult): Result {
  const none = Buffer.alloc(0);
  return asResult({
    ok,
    outcome,
    code: ok ? 0 : undefined,
    signal: undefined,
    cause: undefined,
    runId,
    host,
    stdout: '',
    stderr: '',
    raw: { stdout: none, stderr: none },
    finals: { stdout: 0, stderr: 0 },
    sha256: { stdout: undefined, stderr: undefined },
    gaps: [],
    survivors: [],
    killProof: undefined,
    rusage: undefined,
    timing: { openedMs: Date.now() - durationMs, startMs: undefined, endMs: undefined, durationMs },
    specHash: '',
    log: undefined,
    refusal,
    reason,
  });
}

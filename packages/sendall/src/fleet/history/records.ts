/** The records of the history's files: what they mean, and which are sound. */
import type { Outcome, Result } from '../../client/result/result.js';
import type { ProcessMark } from '../../files/process-mark.js';
import { NodeSet } from '../../sets/node-set.js';
import { BLOB, RUN_ID } from './folder.js';

/** In the index: a run begins. It is written before anything starts. */
export interface Begun {
  readonly run: string;
  /** Milliseconds since the epoch, as all times here. */
  readonly at: number;
  /** Names, or sets in node set notation. */
  readonly hosts: readonly string[];
  /** Hosts on which the run has another id, because they are machines with two names. */
  readonly ids?: Readonly<Record<string, string>>;
  readonly name?: string;
  /** Only for a run on a set of hosts. */
  readonly set?: SetFacts;
}

/** What is recorded of a command on many hosts: its program, and neither its arguments nor its shell text. */
export interface SetFacts {
  readonly program: string;
  /** The number of its other words. */
  readonly words: number;
  readonly caller: ProcessMark;
}

/** In the index: the caller of a run has ended or left. */
export interface Closed {
  readonly run: string;
  readonly at: number;
  /** `ended`: the end is known on each host where the run began. `left`: the commands went on. */
  readonly closed: 'ended' | 'left';
  /** Hosts on which the run was never tried, as in `Begun`. */
  readonly neverStarted?: readonly string[];
  /** With `ended`: hosts by outcome, so that a list of runs need not read each run's file. */
  readonly outcomes?: Readonly<Record<string, number>>;
}

/** In the index: a user had the run forgotten. */
export interface Forgotten {
  readonly run: string;
  readonly at: number;
  readonly forgotten: true;
}

export type IndexRecord = Begun | Closed | Forgotten;

/** In a run's file: the command may run on this host from now on. */
export interface Turn {
  readonly host: string;
  readonly turn: number;
}

/** What is kept of a stream: short output itself, longer output by its digest, which names its blob. */
export interface Piece {
  readonly bytes: number;
  /** Output that is UTF-8. */
  readonly text?: string;
  /** Other output. */
  readonly base64?: string;
  readonly sha256?: string;
}

/** Whether the output stands in the record. */
export const isShort = ({ text, base64 }: Piece): boolean => text !== undefined || base64 !== undefined;

/** Whether the output, or at least its digest, is known. */
export const isKept = (piece: Piece): boolean => isShort(piece) || piece.sha256 !== undefined;

/** In a run's file: how the command ended on this host. */
export interface HostEnd {
  readonly host: string;
  readonly run: string;
  readonly at: number;
  readonly outcome: Outcome;
  readonly code?: number;
  readonly signal?: string;
  readonly stdout?: Piece;
  readonly stderr?: Piece;
  /** The host whose output was received in place of this one's. */
  readonly stdoutFrom?: string;
  readonly stderrFrom?: string;
  /** With --sha256 the result shows the digests. */
  readonly sha256?: true;
  readonly openedMs: number;
  readonly startMs?: number;
  readonly endMs?: number;
  readonly durationMs: number;
  readonly gaps?: readonly { stream: 'stdout' | 'stderr'; from: number; to: number; reason: string }[];
  /** Processes that a kill did not end. Like the command's, their arguments are not kept. */
  readonly survivors?: readonly { pid: number; program: string }[];
  readonly killProof?: string;
  readonly rusage?: { readonly userUs: number; readonly systemUs: number; readonly maxRssKb: number };
  readonly refusal?: string;
  readonly log?: Result['log'];
  /** Not for the outcome ok. */
  readonly reason?: string;
}

const OUTCOMES: Readonly<Record<Outcome, true>> = {
  ok: true,
  failed: true,
  signalled: true,
  timeout: true,
  idle: true,
  cancelled: true,
  limits: true,
  refused: true,
  unreachable: true,
  expired: true,
  lost: true,
  truncated: true,
  conflict: true,
  rewritten: true,
};

type Fields = Readonly<Record<string, unknown>>;
type Check = (value: unknown) => boolean;

const isObject = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const string: Check = (value) => typeof value === 'string';
const count: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 0;
const number: Check = (value) => typeof value === 'number';
const runId: Check = (value) => typeof value === 'string' && RUN_ID.test(value);
const isOutcome: Check = (value) => typeof value === 'string' && Object.hasOwn(OUTCOMES, value);
const oneOf =
  (...values: readonly unknown[]): Check =>
  (value) =>
    values.includes(value);
const optional =
  (check: Check): Check =>
  (value) =>
    value === undefined || check(value);
const list =
  (check: Check): Check =>
  (value) =>
    Array.isArray(value) && value.every(check);
const shape = (checks: Readonly<Record<string, Check>>): Check => {
  const fields = Object.entries(checks);
  return (value) => isObject(value) && fields.every(([field, check]) => check(value[field]));
};

const program = shape({ pid: count, program: string });
const caller = shape({ pid: count, ticks: string, place: string });
const pieceShape = shape({
  bytes: count,
  text: optional(string),
  base64: optional(string),
  sha256: optional((value) => typeof value === 'string' && BLOB.test(value)),
});
const piece: Check = (value) => {
  if (!pieceShape(value)) return false;
  const { bytes, text, base64 } = value as Piece;
  if (text !== undefined) return Buffer.byteLength(text) === bytes;
  return base64 === undefined || Buffer.from(base64, 'base64').length === bytes;
};
const gap = shape({ stream: oneOf('stdout', 'stderr'), from: count, to: count, reason: string });
const ids: Check = (value) => isObject(value) && Object.values(value).every(runId);

const isBegun = shape({
  run: runId,
  at: number,
  hosts: list(string),
  ids: optional(ids),
  name: optional(string),
  set: optional(shape({ program: string, words: count, caller })),
});
const isClosed = shape({
  run: runId,
  at: number,
  closed: oneOf('ended', 'left'),
  neverStarted: optional(list(string)),
  outcomes: optional(
    (value) => isObject(value) && Object.entries(value).every(([outcome, hosts]) => isOutcome(outcome) && count(hosts)),
  ),
});
const isForgotten = shape({ run: runId, at: number, forgotten: oneOf(true) });
const isTurn = shape({ host: string, turn: number });
const isHostEnd = shape({
  host: string,
  run: runId,
  at: number,
  outcome: isOutcome,
  code: optional(count),
  signal: optional(string),
  stdout: optional(piece),
  stderr: optional(piece),
  stdoutFrom: optional(string),
  stderrFrom: optional(string),
  sha256: optional(oneOf(true)),
  openedMs: number,
  startMs: optional(number),
  endMs: optional(number),
  durationMs: number,
  gaps: optional(list(gap)),
  survivors: optional(list(program)),
  killProof: optional(string),
  rusage: optional(shape({ userUs: number, systemUs: number, maxRssKb: number })),
  refusal: optional(string),
  log: optional(shape({ index: count, size: count, head: string })),
  reason: optional(string),
});

const has = (value: unknown, field: string) => typeof value === 'object' && value !== null && field in value;

/** A record of the index, of the kind that its fields say; undefined when it is none. */
export function indexRecord(value: unknown): IndexRecord | undefined {
  const fits = has(value, 'hosts') ? isBegun : has(value, 'closed') ? isClosed : isForgotten;
  return fits(value) ? (value as IndexRecord) : undefined;
}

/** A record of a run's file, of the kind that its fields say; undefined when it is none. */
export function hostRecord(value: unknown): Turn | HostEnd | undefined {
  const fits = has(value, 'turn') ? isTurn : isHostEnd;
  return fits(value) ? (value as Turn | HostEnd) : undefined;
}

/** Hosts as they are recorded. Addresses stand by themselves: their brackets and numbers are no sets. */
export function foldHosts(names: Iterable<string>): string[] {
  const [addresses, plain]: [string[], string[]] = [[], []];
  for (const name of names) (name.includes(':') ? addresses : plain).push(name);
  return [...(plain.length ? [new NodeSet(plain).toString()] : []), ...addresses];
}

/** The names in recorded hosts. A word that is no set counts as a name. */
export function unfoldHosts(words: readonly string[]): string[] {
  return words.flatMap((word) => {
    if (word.includes(':') || !/[[,]/.test(word)) return [word];
    try {
      return [...new NodeSet(word)];
    } catch {
      return [word];
    }
  });
}

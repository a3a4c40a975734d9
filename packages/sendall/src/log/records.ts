/**
 * The records of a log, each a line of JSON with its keys in a fixed order. A line holds argv as `ps` shows it, and of
 * shell text its length and SHA-256; it never holds values of variables, stdin, secrets or the text itself.
 */
import { hash } from 'node:crypto';

/** The keys of each kind of record, in their order, behind `n`, `at` and `kind`. */
const KEYS = {
  /** A keeper has begun to write. `log` stands in the first record of a log, `before` if that log follows another. */
  boot: ['log', 'before', 'version', 'bootId', 'pid'],
  /** A run was let in: what it may run, and for whom. */
  allow: [
    'run',
    'principal',
    'caller',
    'source',
    'rule',
    'policyRev',
    'verb',
    'argv',
    'script',
    'cwd',
    'as',
    'pty',
    'name',
  ],
  /** A run was not let in, or did not start. `count`: as often between `from` and `at`. */
  refuse: ['run', 'principal', 'caller', 'source', 'rule', 'verb', 'argv', 'code', 'reason', 'count', 'from'],
  start: ['run', 'pid', 'program', 'device', 'inode', 'as', 'cgroup'],
  exit: ['run', 'code', 'signal', 'cause', 'reason', 'stdout', 'stderr', 'durationMs', 'survivors'],
  /** `state`: "outlives" when processes are left behind the exit, "ended" when the last of them has gone. */
  tree: ['run', 'state'],
  /** Of these four, `count` is there in a record that stands for several: as often between `from` and `at`. */
  attach: ['run', 'principal', 'caller', 'mode', 'again', 'count', 'from'],
  detach: ['run', 'principal', 'caller', 'count', 'from'],
  signal: ['run', 'principal', 'caller', 'signal', 'scope', 'result', 'count', 'from'],
  cancel: ['run', 'principal', 'caller', 'graceMs', 'reason', 'result', 'count', 'from'],
  /** Something that is not about a run; `what` names it. */
  note: [
    'what',
    'size',
    'run',
    'principal',
    'caller',
    'source',
    'name',
    'roles',
    'rev',
    'sha256',
    'version',
    'pid',
    'reason',
    'count',
    'from',
  ],
  /**
   * Files that a run placed here, or sent, as its program reported: counts of all, and the first ones by name. The program
   * runs as the run's user, whose other processes could make it say anything.
   */
  put: ['run', 'principal', 'reported', 'files', 'bytes', 'same', 'failed', 'named'],
  get: ['run', 'principal', 'reported', 'files', 'bytes', 'same', 'failed', 'named'],
} as const;

export type RecordKind = keyof typeof KEYS;
/** The content of a record of kind K. What is undefined is left out. */
export type RecordOf<K extends RecordKind> = { readonly [key in (typeof KEYS)[K][number]]?: unknown };

/** Bytes of a line without its newline. */
export const MAX_LINE = 64 * 1024 - 256;
/** Bytes of words that a record shows, and characters of another text. */
const SHOWN = 2048;
const LONGEST_TEXT = 512;

/** A text as a record has it. */
export const shownText = (text: string): string =>
  text.length > LONGEST_TEXT ? `${text.slice(0, LONGEST_TEXT)}…` : text;

/** Words as `ps` shows them: bytes that are not UTF-8 are replaced, and what is behind the first 2 KiB is not there. */
export function shownWords(words: readonly Uint8Array[]): string[] {
  const shown: string[] = [];
  let left = SHOWN;
  for (const word of words) {
    if (left <= 0) break;
    shown.push(Buffer.from(word.buffer, word.byteOffset, Math.min(word.length, left)).toString());
    left -= word.length + 1;
  }
  return shown;
}

/** What a record has of shell text. */
export const shownScript = (script: Uint8Array): { bytes: number; sha256: string } => ({
  bytes: script.length,
  sha256: hash('sha256', script, 'hex'),
});

let second = NaN;
/** That second as text, up to its fraction. */
let written = '';

/** A time as ISO 8601, UTC. Records come many to a second, and its text takes as long as the rest of a line. */
function timeOf(atMs: number): string {
  const whole = Math.floor(atMs / 1000);
  if (whole !== second) {
    written = new Date(whole * 1000).toISOString().slice(0, -4);
    second = whole;
  }
  return `${written}${String(atMs - whole * 1000).padStart(3, '0')}Z`;
}

/** The line of a record, without a newline. `n`: its index in the log. */
export function lineOf<K extends RecordKind>(n: number, atMs: number, kind: K, record: RecordOf<K>): Buffer {
  const at = timeOf(atMs);
  // Several are made for each run, and most values are numbers and short texts: an object would take twice as long.
  let line = `{"n":${n},"at":"${at}","kind":"${kind}"`;
  for (const key of KEYS[kind] as readonly (keyof RecordOf<K> & string)[]) {
    const value = record[key];
    if (value !== undefined) line += `,"${key}":${jsonOf(value)}`;
  }
  const bytes = Buffer.from(`${line}}`);
  if (bytes.length <= MAX_LINE) return bytes;
  // Every part is bounded, so this is what control characters make of one, each escaped.
  const { run, principal, code, what } = record as Readonly<Record<string, unknown>>;
  return Buffer.from(JSON.stringify({ n, at, kind, run, principal, code, what, tooLong: bytes.length }));
}

function jsonOf(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(shownText(value));
  return Number.isSafeInteger(value) ? String(value) : JSON.stringify(value);
}

/** The options of a run: described, defaulted and checked here and nowhere else. */
import { CHOICES, encodeSpec, TERMINAL_NAME } from '../../protocol/codec.js';
import type { Spec } from '../../protocol/messages.js';
import { startsOwnProgram } from '../../protocol/own-runs.js';
import { formatRunId, isRunId, newRunId as makeRunId, parseRunId } from '../../protocol/run-id.js';
import { readDuration, type Duration } from '../../text/duration.js';
import { SECRET_WAYS, wrongSecrets } from '../../protocol/secrets.js';
import { UsageError } from '../../errors.js';
import {
  abortSignal,
  check,
  checkOptions,
  either,
  flag,
  having,
  listOf,
  duration,
  name,
  objectOf,
  oneOf,
  whole,
  word,
  type Rule,
  type Rules,
} from './check.js';
import { limitsFor, limitsRule, type CommandLimits } from './limits.js';
import { prepareRetry, retryRule, type PreparedRetry, type Retry } from './retry.js';
import { outputTargetRule, type OutputTarget } from './output-target.js';
import { revealed, Secret } from './secret.js';
import { verboseOf, verboseRule, type Verbose } from './verbose.js';

/** A word, path or variable: text is sent as UTF-8, bytes as they are. */
export type Word = string | Uint8Array;

/** How to run a command, and what to do with its output. */
export interface RunOptions {
  /**
   * Run id (UUIDv7 text). Opening the same id again attaches to that run.
   * @default a new one
   */
  runId?: string;
  /** A name to find the run by. */
  name?: string;
  /** Words to find the run by. */
  tags?: readonly string[];
  /**
   * Working folder on the host. A relative one starts at the user's home, on `local` at the caller's current folder.
   * @default the user's home; on `local` the caller's current folder
   */
  cwd?: Word;
  /** Added to the rebuilt environment; undefined values are skipped. An array holds NAME=VALUE entries. */
  env?: Readonly<Record<string, Word | undefined>> | readonly Word[];
  /** Run as this user of the host (the agent must be allowed to). */
  runAs?: string;
  /**
   * Values that no journal, log, list or message has: `{ DB: secret(value) }`. Their names are part of the command, so the
   * same run id with other names is a conflict; the values are not. Undefined values are skipped.
   * @default none
   */
  secrets?: Readonly<Record<string, Secret | undefined>>;
  /**
   * How the command gets its secrets. "fd": the variable NAME_FD is the number of a descriptor from which it reads the
   * value. "env": the variable NAME is the value; other processes of the same user can read it too.
   * @default 'fd'
   */
  secretAs?: 'fd' | 'env';
  /**
   * What the command may use: memory, processor time, open files, processes. A host that cannot limit one of them refuses
   * the run.
   * @default none
   */
  limits?: CommandLimits;
  /**
   * What the command reads. "none": an immediate end-of-file. "pipe": what you write to `run.stdin`. Any other string:
   * that text. Otherwise: these bytes, or everything from this stream (a Readable, a ReadableStream, a generator).
   * @default 'none'
   */
  stdin?: 'none' | 'pipe' | (string & {}) | Uint8Array | AsyncIterable<Uint8Array | string>;
  /**
   * Where stdout goes. "pipe": into the result, or to a reader of the run.
   * @default 'pipe'
   */
  stdout?: OutputTarget;
  /**
   * Where stderr goes.
   * @default 'pipe'
   */
  stderr?: OutputTarget;
  /**
   * How `text`, `lines` and `stdout` of the result are decoded: any label TextDecoder knows.
   * @default 'utf-8'
   */
  encoding?: string;
  /**
   * A terminal of this size on the host, each from 1 to 65535; output is one stream.
   * @default 80 columns and 24 rows
   */
  pty?: boolean | { cols?: number | undefined; rows?: number | undefined; term?: string | undefined };
  /**
   * "split", "merged" into stdout, or write by write (`records()`). "exact" works with every program: it preserves
   * single writes up to 4,096 bytes, and the order between stdout and stderr in which the host read them. "ordered"
   * preserves the true order, and long writes whole, for programs that write to their inherited descriptors. Programs
   * that open /dev/stdout fail, and node, deno and bun are refused.
   * @default 'split'
   */
  capture?: 'split' | 'merged' | 'exact' | 'ordered';
  /**
   * Milliseconds until the host ends the run (outcome timeout). 0: never.
   * @default 0
   */
  timeout?: Duration;
  /**
   * Milliseconds from this call to the result; in a fleet, from each host's turn. The host ends the run at this time,
   * also without its caller (outcome timeout). A host that cannot be reached by then is unreachable. If the end is not
   * known `killGrace` and three seconds later, the run is lost. 0: never.
   * @default 0
   */
  deadline?: Duration;
  /**
   * Milliseconds without output until the host ends the run (outcome idle). 0: never.
   * @default 0
   */
  idleTimeout?: Duration;
  /**
   * Milliseconds between TERM and KILL.
   * @default 5000
   */
  killGrace?: Duration;
  /**
   * When the result resolves: at "exit", at end of output ("eof"), or when the whole "tree" has ended.
   * @default 'exit'
   */
  waitFor?: 'exit' | 'eof' | 'tree';
  /**
   * What happens when the caller is lost: the run goes on ("keep"), or gets TERM after this many milliseconds.
   * @default 'keep'
   */
  onDisconnect?: 'keep' | { termAfter: Duration };
  /**
   * Milliseconds for which the host keeps the finished run. With "nothing" it removes output as soon as the caller has
   * it, and the run once the caller has its end; at most 16 MiB of a stream wait there, then `overflow` applies.
   * @default 86_400_000
   */
  keep?: Duration | 'nothing';
  /**
   * Bytes of this run's output that the host keeps on disk.
   * @default 268_435_456
   */
  spoolMax?: number;
  /**
   * When `spoolMax` is full of unread bytes: "block" the command, "stop" it, or "drop-old" bytes (a gap).
   * @default 'block'
   */
  overflow?: 'block' | 'stop' | 'drop-old';
  /**
   * Output above this many bytes ends the run (outcome limits); the excess is dropped.
   * @default none
   */
  maxOutput?: number;
  /**
   * Bytes of each stream that a result collects. Above it the run is cancelled (outcome truncated) and the result keeps
   * what fits; the text omits a last character that was cut.
   * @default 67_108_864
   */
  maxBuffer?: number;
  /**
   * What happens to the final newline of text. True: `stdout` and `stderr` of the result omit it too. False: `text()`
   * keeps it too. `raw`, `bytes()` and streams always have it.
   * @default `text()` and `${result}` omit it, the result keeps it
   */
  stripFinalNewline?: boolean;
  /**
   * False: a result that is not ok resolves instead of rejecting.
   * @default true
   */
  reject?: boolean;
  /**
   * Further tries of a run that was not ok. A run is tried again only if it certainly never started or is `idempotent`.
   * Each try has a new run id, and the run takes it over. A run that the caller ended, or whose output was read as a
   * stream, is not tried again.
   * @default 0
   */
  retry?: Retry;
  /**
   * Prints lines on our stderr about the run's start, its end and, with "full", its output; never the command's
   * arguments.
   * @default SENDALL_VERBOSE, else "none"
   */
  verbose?: Verbose;
  /**
   * The command may be started again after an unclear crash.
   * @default false
   */
  idempotent?: boolean;
  /**
   * SHA-256 of each stream in the result.
   * @default false
   */
  sha256?: boolean;
  /**
   * Wait until the host's log has the run's end on disk, so that the head in the result covers it. It costs a sync.
   * @default false
   */
  syncLog?: boolean;
  /**
   * Milliseconds after which the host must no longer start the run.
   * @default 60_000
   */
  startWithin?: Duration;
  /**
   * Milliseconds without a link until the run is given up as lost.
   * @default the connection's
   */
  giveUpAfter?: Duration;
  /** Aborting cancels the run on the host. */
  signal?: AbortSignal;
}

const size = (what: string): Rule => whole(what, 1, 65_535);
const readable: Rule = {
  allowed: 'a stream or a generator of bytes or text',
  fits: (value) =>
    [Symbol.asyncIterator, 'getReader', Symbol.iterator].some((method) => having('', method).fits(value)),
};
const variables: Rule = {
  allowed: 'an object of text or bytes by name',
  fits: (value) =>
    typeof value === 'object' &&
    value !== null &&
    !(value instanceof Uint8Array) &&
    Object.values(value).every((each) => each === undefined || word.fits(each)),
};

const secretValues: Rule = {
  allowed: 'an object of secrets by name: { DB: secret(value) }',
  fits: (value) =>
    typeof value === 'object' &&
    value !== null &&
    Object.values(value).every((each) => each === undefined || each instanceof Secret),
  hidden: true,
};

const terminalName: Rule = {
  allowed: "a terminal's name: 1 to 64 letters, digits and . _ + -",
  fits: (value) => typeof value === 'string' && TERMINAL_NAME.test(value),
};

/** The allowed values of each option. */
export const RUN_RULES: Rules<RunOptions> = {
  runId: { allowed: 'a run id', fits: (value) => typeof value === 'string' && isRunId(value) },
  name,
  tags: listOf(name),
  cwd: word,
  env: either(listOf(word), variables),
  runAs: name,
  secrets: secretValues,
  secretAs: oneOf(...SECRET_WAYS),
  limits: limitsRule,
  stdin: either(word, readable),
  stdout: outputTargetRule,
  stderr: outputTargetRule,
  encoding: { allowed: 'an encoding: try utf-8, gbk, gb18030, big5, shift_jis', fits: isEncoding },
  pty: either(flag, objectOf({ cols: size('columns'), rows: size('rows'), term: terminalName })),
  capture: oneOf(...CHOICES.capture),
  timeout: duration,
  deadline: duration,
  idleTimeout: duration,
  killGrace: duration,
  waitFor: oneOf('exit', 'eof', 'tree'),
  onDisconnect: either(oneOf('keep'), objectOf({ termAfter: duration }, 'termAfter')),
  keep: either(duration, { allowed: '"nothing"', fits: (value) => value === 'nothing' }),
  spoolMax: whole('bytes'),
  overflow: oneOf(...CHOICES.overflow),
  maxOutput: whole('bytes'),
  maxBuffer: either(whole('bytes'), { allowed: 'Infinity', fits: (value) => value === Infinity }),
  stripFinalNewline: flag,
  reject: flag,
  retry: retryRule,
  verbose: verboseRule,
  idempotent: flag,
  sha256: flag,
  syncLog: flag,
  startWithin: duration,
  giveUpAfter: duration,
  signal: abortSignal,
};

/** Linux could not pass longer argument lists and environments either (ARG_MAX is 2 MiB by default). */
const MAX_SPEC = 1024 * 1024 - 4096;

/** A run's options with every default in place. */
export interface PreparedRun {
  readonly runId: Buffer;
  /** Its id was made for it: no host knows it before it is sent. */
  readonly isNew: boolean;
  readonly spec: Spec;
  readonly rawSpec: Uint8Array;
  /** The values of the spec's secrets. */
  readonly secrets: ReadonlyMap<string, Secret>;
  readonly encoding: string;
  readonly maxBuffer: number;
  readonly waitFor: 'exit' | 'eof' | 'tree';
  readonly stripFinalNewline: boolean | undefined;
  readonly reject: boolean;
  readonly startWithin: number;
  readonly syncLog: boolean;
  /** When the result is due, on the clock of `performance.now()`. */
  readonly deadlineAt: number | undefined;
  readonly giveUpAfter: number | undefined;
  readonly signal: AbortSignal | undefined;
  readonly retry: PreparedRetry | undefined;
  readonly verbose: Verbose;
  readonly stdin: RunOptions['stdin'];
  readonly stdout: OutputTarget | undefined;
  readonly stderr: OutputTarget | undefined;
}

/** @throws UsageError for any other type: without this check, untyped callers would get an error from deep inside. */
export function toBytes(word: Word): Uint8Array {
  if (typeof word === 'string') return Buffer.from(word, 'utf8');
  if (word instanceof Uint8Array) return word;
  if ((word as unknown) instanceof Secret)
    throw new UsageError(
      'a secret cannot be a word or a variable, which others can see: give it in the option secrets',
    );
  throw new UsageError(`a word is text or bytes, not ${word === null ? 'null' : typeof word}`);
}

function envEntries(env: NonNullable<RunOptions['env']>): Uint8Array[] {
  if (Array.isArray(env)) return env.map(toBytes);
  return Object.entries(env as Record<string, Word | undefined>).flatMap(([name, value]) =>
    value === undefined ? [] : [Buffer.concat([Buffer.from(`${name}=`), toBytes(value)])],
  );
}

function secretsIn({ secrets = {}, secretAs }: RunOptions): Map<string, Secret> {
  const given = new Map<string, Secret>();
  for (const [name, value] of Object.entries(secrets)) {
    if (!value) continue;
    if (secretAs === 'env' && revealed(value).includes(0))
      throw new UsageError(`secrets: ${name} holds a NUL byte, which no variable can have: leave out secretAs`);
    given.set(name, value);
  }
  return given;
}

/**
 * A terminal's size.
 * @throws UsageError when it is wrong.
 */
export function checkSize(cols: number, rows: number): { cols: number; rows: number } {
  check('cols', cols ?? null, size('columns'));
  check('rows', rows ?? null, size('rows'));
  return { cols, rows };
}

function isEncoding(label: unknown): boolean {
  try {
    return typeof label === 'string' && Boolean(new TextDecoder(label));
  } catch {
    return false;
  }
}

/** A stream or a generator that only one run could read from its beginning. */
export function isReadOnce(stdin: RunOptions['stdin']): stdin is AsyncIterable<Uint8Array | string> {
  if (typeof stdin !== 'object' || stdin instanceof Uint8Array) return false;
  return 'pipe' in stdin || 'getReader' in stdin || 'next' in stdin;
}

/** The same run, with stdin as a pipe. */
export function withStdin(prepared: PreparedRun): PreparedRun {
  const spec = { ...prepared.spec, stdin: true };
  return { ...prepared, spec, rawSpec: encodeSpec(spec), stdin: 'pipe' };
}

/** A fresh run id, for `runId`: a UUIDv7, so ids sort by age. */
export function newRunId(): string {
  return formatRunId(makeRunId());
}

/**
 * Checks the command and the options.
 * @throws UsageError that names what is wrong.
 */
export function prepareRun(
  what:
    | { verb: 'exec' | 'put' | 'get' | 'forward'; argv: readonly Word[] }
    | { verb: 'sh'; script: Word; accountShell?: true },
  options: RunOptions = {},
): PreparedRun {
  checkOptions<RunOptions>('run', options, RUN_RULES);
  if (what.verb === 'exec' && !Array.isArray(what.argv))
    throw new UsageError('run() takes an array of words: run(["ls", "-l"]); sh() takes shell text');
  const words = what.verb === 'sh' ? [toBytes(what.script)] : what.argv.map(toBytes);
  if (what.verb === 'exec' && !words.length) throw new UsageError('there is no command to run');
  const env = options.env ? envEntries(options.env) : [];
  for (const [where, bytes] of [
    ...words.map((word, i) => [what.verb === 'sh' ? 'the script' : `argument ${i}`, word] as const),
    ...env.map((entry) => ['an environment variable', entry] as const),
    ['cwd', options.cwd === undefined ? new Uint8Array() : toBytes(options.cwd)] as const,
  ])
    if (bytes.includes(0)) throw new UsageError(`${where} holds a NUL byte, which no command can receive`);
  if (options.cwd?.length === 0) throw new UsageError('cwd: an empty word names no folder');
  for (const entry of env)
    if (entry.indexOf(0x3d) < 1)
      throw new UsageError(`env: an entry of ${entry.length} bytes is not NAME=VALUE: its name is missing`);
  if (what.verb === 'exec' && words[0]!.length === 0) throw new UsageError('the command is an empty word');
  const secrets = secretsIn(options);
  const pty = options.pty === true ? {} : options.pty || undefined;
  const keepsNothing = options.keep === 'nothing';
  const spec: Spec = {
    verb: what.verb,
    argv: what.verb === 'sh' ? [] : words,
    script: what.verb === 'sh' ? words[0] : undefined,
    accountShell: what.verb === 'sh' ? what.accountShell : undefined,
    cwd: options.cwd === undefined ? undefined : toBytes(options.cwd),
    env,
    runAs: options.runAs,
    limits: limitsFor(options.limits),
    stdin: options.stdin !== undefined && options.stdin !== 'none',
    pty: pty && { cols: pty.cols ?? 80, rows: pty.rows ?? 24, term: pty.term },
    capture: options.capture,
    timeoutMs: readDuration(options.timeout) || undefined,
    idleMs: readDuration(options.idleTimeout) || undefined,
    killGraceMs: readDuration(options.killGrace),
    termAfterMs: typeof options.onDisconnect === 'object' ? readDuration(options.onDisconnect.termAfter) : undefined,
    keepMs: keepsNothing ? undefined : readDuration(options.keep) || undefined,
    // What passes through a command in ssh's place may be anything: a backup, or a whole file system.
    passing: keepsNothing || startsOwnProgram(what) || (what.verb === 'sh' && what.accountShell) || undefined,
    spoolMax: options.spoolMax,
    overflow: options.overflow,
    name: options.name,
    tags: [...(options.tags ?? [])],
    secrets: [...secrets.keys()].map((each) => ({ name: each, as: options.secretAs ?? 'fd' })),
    idempotent: options.idempotent,
    maxOutput: options.maxOutput,
    sha256: options.sha256,
  };
  const wrong = wrongSecrets(spec);
  if (wrong !== undefined) throw new UsageError(`secrets: ${wrong}`);
  const deadline = readDuration(options.deadline) || undefined;
  const rawSpec = encodeSpec(spec);
  const secretBytes = [...secrets.values()].reduce((sum, each) => sum + revealed(each).length, 0);
  if (rawSpec.length <= MAX_SPEC && rawSpec.length + secretBytes > MAX_SPEC)
    throw new UsageError(
      `secrets: with the command they are ${rawSpec.length + secretBytes} bytes, and sendall sends at most ${MAX_SPEC}: pass the data on stdin`,
    );
  if (rawSpec.length > MAX_SPEC)
    throw new UsageError(
      `the command and its environment are ${rawSpec.length} bytes together, and sendall sends at most ${MAX_SPEC}: pass the data on stdin`,
    );
  return {
    runId: options.runId === undefined ? makeRunId() : parseRunId(options.runId),
    isNew: options.runId === undefined,
    spec,
    rawSpec,
    secrets,
    encoding: options.encoding ?? 'utf-8',
    maxBuffer: options.maxBuffer ?? 64 * 1024 * 1024,
    waitFor: options.waitFor ?? 'exit',
    stripFinalNewline: options.stripFinalNewline,
    reject: options.reject ?? true,
    startWithin: readDuration(options.startWithin) ?? 60_000,
    syncLog: options.syncLog ?? false,
    deadlineAt: deadline === undefined ? undefined : performance.now() + deadline,
    giveUpAfter: readDuration(options.giveUpAfter),
    signal: options.signal,
    retry: prepareRetry(options.retry, options),
    verbose: verboseOf(options.verbose),
    stdin: options.stdin,
    stdout: options.stdout,
    stderr: options.stderr,
  };
}

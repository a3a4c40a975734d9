/** A connected host: run commands on it, list its runs, ping it. */
import { RefusedError, SendallError, UsageError } from '../errors.js';
import { MAX_FRAME, type Control, type RunInfo } from '../protocol/messages.js';
import { formatRunId, parseRunId } from '../protocol/run-id.js';
import { check, checkOptions, either, flag, objectOf, oneOf, whole } from './options/check.js';
import { prepareRun, RUN_RULES, toBytes, type RunOptions, type Word } from './options/options.js';
import type { Beginning } from './run/attachment.js';
import { Run } from './run/run.js';
import type { Session } from './session/session.js';
import { templateWords, type Argument } from './options/template.js';
import { prepareTransfer, type TransferOptions, type TransferSource, type TransferTarget } from './transfer/options.js';
import type { SharedBySiblings } from './transfer/movement.js';
import { Transfer } from './transfer/transfer.js';

/** What the host reported about itself when the link was made. */
export interface HostInfo {
  readonly name: string;
  readonly version: string;
  readonly bootId: string;
  readonly features: readonly string[];
  readonly principal: string;
  readonly roles: readonly string[];
  /** The host's clock minus ours, in milliseconds, as far as one exchange can tell. */
  readonly clockSkewMs: number;
}

/** Runs a template as an argument list. Called with options, it returns a tag that uses them. */
export interface RunTag {
  /** A value is always one word; an array is several. */
  (strings: TemplateStringsArray, ...values: readonly Argument[]): Run;
  /** The same tag with these options. */
  (options: RunOptions): RunTag;
}

/** Bytes of a question to the agent: with its name they fit into a frame. */
const MAX_QUESTION = MAX_FRAME - 1024;

/** How to join an existing run. */
export interface AttachOptions extends Pick<
  RunOptions,
  | 'encoding'
  | 'stdout'
  | 'stderr'
  | 'verbose'
  | 'maxBuffer'
  | 'stripFinalNewline'
  | 'reject'
  | 'waitFor'
  | 'signal'
  | 'sha256'
  | 'giveUpAfter'
> {
  /**
   * Where stdout begins: at the "start" or "end" of the kept output, at an offset, or this many bytes before the end; or
   * an offset for each stream, as a run's `offsets` has them.
   * @default 'start'
   */
  from?: 'start' | 'end' | number | { tail: number } | { stdout?: number; stderr?: number };
  /**
   * Bytes of each stream that the host may send before they are read, at least 4096.
   * @default 1_048_576, and up to 67_108_864 while output is read quickly
   */
  readAhead?: number;
  /**
   * "control" writes stdin and trims the spool; "observe" only reads.
   * @default 'control'
   */
  mode?: 'observe' | 'control';
}

const {
  encoding,
  stdout,
  stderr,
  verbose,
  maxBuffer,
  stripFinalNewline,
  reject,
  waitFor,
  signal,
  sha256,
  giveUpAfter,
} = RUN_RULES;
const ATTACH_RULES = {
  encoding,
  stdout,
  stderr,
  verbose,
  maxBuffer,
  stripFinalNewline,
  reject,
  waitFor,
  signal,
  sha256,
  giveUpAfter,
  from: either(
    oneOf('start', 'end'),
    whole('bytes'),
    objectOf({ tail: whole('bytes') }, 'tail'),
    objectOf({ stdout: whole('bytes'), stderr: whole('bytes') }),
  ),
  readAhead: whole('bytes', 4096),
  mode: oneOf('observe', 'control'),
};

/** A run in the host's list. */
export interface RunListing {
  readonly runId: string;
  readonly host: string;
  readonly state: string;
  readonly name: string | undefined;
  readonly argv: readonly string[];
  readonly pid: number | undefined;
  readonly openedMs: number;
  readonly startMs: number | undefined;
  readonly endMs: number | undefined;
  readonly code: number | undefined;
  readonly signal: string | undefined;
  readonly cause: string | undefined;
  readonly reason: string | undefined;
  /** "stdout" or "stderr" while the command waits for a reader, "disk" while it waits for room on a full disk. */
  readonly blocked: string | undefined;
  readonly attached: number;
  /** One of the attached callers has control; the others observe. */
  readonly controlled: boolean;
  readonly stdoutBytes: number;
  readonly stderrBytes: number;
  readonly tags: readonly string[];
}

/** Turns a run's `cwd` into a folder's full name. */
type FolderFrom = (cwd: Uint8Array | undefined) => Uint8Array;

/** A connected machine; runs commands there. */
export class Host implements AsyncDisposable {
  /** The name or address used to connect. */
  readonly id: string;
  /** Runs a template as an argument list: host.$`grep ${pattern} ${file}`. Never goes through a shell. */
  readonly $: RunTag;
  readonly #session: Session;
  readonly #folderFrom: FolderFrom | undefined;

  /** @internal */
  constructor(id: string, session: Session, folderFrom?: FolderFrom) {
    this.id = id;
    this.#session = session;
    this.#folderFrom = folderFrom;
    this.$ = this.#tag({});
  }

  /**
   * Resolves when the host has let us in; rejects if the first link ends before that. With `early`, runs that were begun
   * meanwhile go on by themselves.
   */
  get ready(): Promise<void> {
    return this.#session.ready;
  }

  /**
   * What the host reported about itself.
   * @throws SendallError before `ready` has resolved.
   */
  get info(): HostInfo {
    const { greeting } = this.#session;
    if (!greeting) throw new SendallError('NOT_READY', `${this.id} has not let us in yet: wait for ready first`);
    const { auth } = greeting;
    return {
      name: auth.name ?? '',
      version: auth.version ?? '',
      bootId: auth.bootId ?? '',
      features: auth.features,
      principal: auth.principal,
      roles: auth.roles,
      clockSkewMs: this.#session.hostNow() - Date.now(),
    };
  }

  /** The fingerprint by which the host is known; undefined for this machine's own agent. @internal */
  get pin(): string | undefined {
    const { key } = this.#session.log ?? {};
    return key?.startsWith('SHA256:') ? key : undefined;
  }

  /** How often the link was lost and restored. */
  get resumes(): number {
    return this.#session.resumes;
  }

  /**
   * Runs `argv` exactly as given.
   * @throws UsageError immediately when an option is wrong.
   */
  run(argv: readonly Word[], options: RunOptions = {}): Run {
    return this.#begin(prepareRun({ verb: 'exec', argv }, this.#placed(options)), { kind: 'open' });
  }

  /**
   * Runs shell text with the host's /bin/sh. This is another verb, with a permission of its own.
   * @throws UsageError immediately when an option is wrong.
   */
  sh(script: Word, options: RunOptions = {}): Run {
    return this.#begin(prepareRun({ verb: 'sh', script }, this.#placed(options)), { kind: 'open' });
  }

  /** Gives shell text to the shell of the account itself, in its home, as ssh does it; none: a login shell. @internal */
  accountShell(script: Word, options: RunOptions): Run {
    return this.#begin(prepareRun({ verb: 'sh', script, accountShell: true }, options), { kind: 'open' });
  }

  /** Connects from the host to HOST:PORT; the run's stdin and stdout are the connection. @internal */
  forward(target: Word, options: RunOptions): Run {
    return this.#begin(prepareRun({ verb: 'forward', argv: [target] }, options), { kind: 'open' });
  }

  /**
   * Brings files, folders and links to the host, or the content of one file from a stream. `destination` is a path there;
   * a relative one begins at the user's home, on `local` at our current folder. What is pushed lands in the destination if
   * that is a folder or ends in "/", else it becomes the destination.
   * @throws UsageError immediately when an option is wrong.
   */
  push(sources: TransferSource, destination: Word, options: TransferOptions = {}): Transfer {
    return this.transfer('push', sources, destination, options);
  }

  /**
   * Gets files, folders and links from the host, or the content of one file into a stream. `sources` are paths there.
   * What is pulled lands in the destination if that is a folder or ends in "/", else it becomes the destination.
   * @throws UsageError immediately when an option is wrong.
   */
  pull(sources: Word | readonly Word[], destination: TransferTarget, options: TransferOptions = {}): Transfer {
    return this.transfer('pull', sources, destination, options);
  }

  /** A transfer that may share work with those of other hosts. @internal */
  transfer(
    direction: 'push' | 'pull',
    sources: TransferSource,
    destination: TransferTarget,
    options: TransferOptions,
    shared?: SharedBySiblings,
  ): Transfer {
    const prepared = prepareTransfer(direction, sources, destination, options);
    const begin = ({ verb, argv }: { verb: 'put' | 'get'; argv: readonly Word[] }, runOptions: RunOptions): Run => {
      // On this machine paths begin at our folder.
      const words = this.#folderFrom ? argv.map((word) => this.#folderFrom!(toBytes(word))) : argv;
      return this.#begin(prepareRun({ verb, argv: words }, runOptions), { kind: 'open' });
    };
    const muchTravels = () => void this.#session.moveToOwnLink();
    return new Transfer(this.id, prepared, begin, { ...shared, muchTravels });
  }

  /** On this machine a command starts in our folder; elsewhere the host chooses. */
  #placed(options: RunOptions): RunOptions {
    if (!this.#folderFrom) return options;
    checkOptions<RunOptions>('run', options, RUN_RULES);
    return { ...options, cwd: this.#folderFrom(options.cwd === undefined ? undefined : toBytes(options.cwd)) };
  }

  /**
   * Joins an existing run, from any byte that is still kept.
   * @throws UsageError immediately when an option is wrong.
   */
  attach(runId: string, options: AttachOptions = {}): Run {
    checkOptions<AttachOptions>('attach', options, ATTACH_RULES);
    check('the run to attach to', runId ?? null, RUN_RULES.runId);
    const { from = 'start', mode = 'control', readAhead, ...rest } = options;
    // The words are not sent; the host knows them.
    const prepared = prepareRun({ verb: 'exec', argv: ['attach'] }, { ...rest, runId, stdin: 'pipe' });
    return this.#begin(prepared, { kind: 'attach', mode, from, readAhead });
  }

  /** This identity's runs on the host: the unfinished ones or, with `all`, every run still kept. */
  async *runs(query: { all?: boolean } = {}): AsyncGenerator<RunListing, void, undefined> {
    checkOptions('runs()', query, { all: flag });
    let after: number | undefined;
    do {
      const answer = await this.#session.ask({ type: 'LIST', all: query.all ?? false, page: true, after });
      if (answer.type !== 'RUNS') throw notDone(answer);
      for (const run of answer.runs) yield listing(this.id, run);
      after = answer.next;
    } while (after !== undefined);
  }

  /**
   * Forgets a finished run and its output.
   * @throws SendallError when the host does not know the run, or the run has not ended.
   */
  async forget(runId: string): Promise<void> {
    const answer = await this.#session.ask({ type: 'FORGET', runId: parseRunId(runId) });
    if (answer.type !== 'OP_OK') throw notDone(answer);
    if (answer.result === 'unknown')
      throw new SendallError(
        'UNKNOWN',
        `there is no such run on ${this.id}, or it was forgotten: see sendall ps --all ${this.id}`,
      );
    if (answer.result !== 'done') throw new SendallError('NOT_FORGOTTEN', answer.result);
  }

  /**
   * Round-trip time in milliseconds, through the agent.
   * @throws UnreachableError when the link is lost and not restored.
   */
  async ping(): Promise<{ rttMs: number }> {
    const before = performance.now();
    await this.ask('ping');
    return { rttMs: performance.now() - before };
  }

  /** A question to the agent itself. @internal */
  async ask<T = unknown>(what: string, body?: unknown): Promise<T> {
    const text = body === undefined ? undefined : JSON.stringify(body);
    // More than a frame takes would break the link, and all that is on its way.
    if (text !== undefined && Buffer.byteLength(text) > MAX_QUESTION)
      throw new UsageError(
        `what is asked of the agent is ${Buffer.byteLength(text)} bytes, and at most ${MAX_QUESTION} can be sent`,
      );
    const answer = await this.#session.ask({ type: 'ASK', what, body: text });
    if (answer.type !== 'ANSWER') throw new SendallError('PROTOCOL', `the agent answered ${what} with ${answer.type}`);
    if (answer.error !== undefined) throw new RefusedError(answer.error);
    return (answer.body === undefined ? undefined : JSON.parse(answer.body)) as T;
  }

  /** Disconnects from the host. Unfinished runs go on there; this process gives them up as lost. */
  async close(): Promise<void> {
    this.#session.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #begin(prepared: ReturnType<typeof prepareRun>, beginning: Beginning): Run {
    const run = new Run(this.id, prepared, beginning);
    run.join(this.#session);
    return run;
  }

  #tag(options: RunOptions): RunTag {
    return ((first: TemplateStringsArray | RunOptions, ...values: readonly Argument[]) =>
      'raw' in first
        ? this.run(templateWords(first as TemplateStringsArray, values), options)
        : this.#tag({ ...options, ...first })) as RunTag;
  }
}

/** The host could not answer, for example because its keeper has just died. */
function notDone(answer: Control): SendallError {
  const why = answer.type === 'ANSWER' ? answer.error : undefined;
  if (answer.type === 'ANSWER' && answer.code === 'policy') return new RefusedError(why ?? 'the policy refuses it');
  return new SendallError('UNAVAILABLE', why ?? `the host answered with ${answer.type}`);
}

function listing(host: string, run: RunInfo): RunListing {
  return {
    runId: formatRunId(run.runId),
    host,
    state: run.state,
    name: run.name,
    argv: run.argv.map((word) => Buffer.from(word).toString()),
    pid: run.pid,
    openedMs: run.openedMs,
    startMs: run.startMs,
    endMs: run.endMs,
    code: run.code,
    signal: run.signal,
    cause: run.cause,
    reason: run.reason,
    blocked: run.blocked,
    attached: run.attached ?? 0,
    controlled: run.controlled ?? false,
    stdoutBytes: run.stdoutBytes ?? 0,
    stderrBytes: run.stderrBytes ?? 0,
    tags: run.tags,
  };
}

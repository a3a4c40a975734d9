/**
 * Files on their way to one host or from it. Await a transfer for its result; iterate it for its events. It outlives its
 * link as any run does, and if its run is lost, another one goes on where the files are.
 */
import type { InspectOptions } from 'node:util';
import { setMaxListeners } from 'node:events';
import { readDuration } from '../../text/duration.js';
import { after } from '../../timer.js';
import { UsageError } from '../../errors.js';
import { Deferred } from '../run/deferred.js';
import type { Run } from '../run/run.js';
import { newRunId, type RunOptions, type Word } from '../options/options.js';
import type { Outcome, Result } from '../result/result.js';
import { Meeting } from '../streams/meeting.js';
import type { PreparedTransfer } from './options.js';
import {
  asTransferResult,
  MOST_PROBLEMS,
  TransferError,
  type TransferEvent,
  type TransferFile,
  type TransferProblem,
  type TransferProgress,
  type TransferResult,
} from './result.js';
import type { Movement, MovementOptions } from './movement.js';

/** Milliseconds between two progress events. */
const PERIOD = 250;
/** Milliseconds for a run to end by itself after its stream has. */
const LAST_MOMENTS = 5000;
/** Bytes that the program there may write on stderr. */
const MOST_STDERR = 1024 * 1024;
/** Milliseconds without a link until a run is given up, unless its option says otherwise. */
const GIVE_UP_AFTER = 600_000;
/** Milliseconds that the host waits for a lost caller longer than the caller waits for the host. */
const MARGIN = 60_000;

/** Starts the program that moves files, on the transfer's host. */
export type BeginTransfer = (what: { verb: 'put' | 'get'; argv: readonly Word[] }, options: RunOptions) => Run;

/** Where util.inspect and console.log look. */
const INSPECT = Symbol.for('nodejs.util.inspect.custom');
type Inspect = (value: unknown, options: InspectOptions) => string;

const nothingYet: TransferProgress = {
  files: 0,
  bytes: 0,
  sent: 0,
  same: 0,
  failed: 0,
  totalBytes: undefined,
  path: undefined,
};

/** Files on their way to one host or from it. Awaiting it gives its result, iterating it its events. */
export class Transfer implements PromiseLike<TransferResult>, AsyncIterable<TransferEvent>, AsyncDisposable {
  readonly host: string;
  readonly #prepared: PreparedTransfer;
  readonly #begin: BeginTransfer;
  readonly #shared: Pick<MovementOptions, 'reads' | 'muchTravels'>;
  readonly #result = new Deferred<TransferResult>();
  readonly #begunAt = performance.now();
  readonly #problems: TransferProblem[] = [];
  #throws: boolean;
  readonly #first: Run;
  #run: Run;
  #movement: Movement | undefined;
  #meeting: Meeting<TransferEvent> | undefined;
  #settled: TransferResult | undefined;
  /** Aborted when the caller ends it. */
  readonly #ending = new AbortController();
  /** Why the caller ends it. */
  #cancelled: string | undefined;
  #cause: unknown;
  #retries = 0;
  /** Whether the sources land in the destination, as the first run has found: it may have made the destination. */
  #into: boolean | undefined;
  /** Bytes that travelled in runs that were lost. */
  #sentBefore = 0;
  /** The last progress event, and whether its reader has not taken it yet. */
  #told = '0 0 0';
  #telling = false;

  /** @internal Use Host.push and Host.pull. */
  constructor(
    host: string,
    prepared: PreparedTransfer,
    begin: BeginTransfer,
    shared: Pick<MovementOptions, 'reads' | 'muchTravels'> = {},
  ) {
    this.host = host;
    this.#prepared = prepared;
    this.#begin = begin;
    this.#shared = shared;
    this.#throws = prepared.reject;
    // Its beginning may leave in one flight with our name.
    this.#first = this.#run = this.#start(prepared.run.runId);
    this.#watch(prepared.signal);
    void this.#conduct();
  }

  /** The id of its run; after a lost run, that of the next one. */
  get runId(): string {
    return this.#run.runId;
  }

  /** How far it is. */
  get progress(): TransferProgress {
    const { progress } = this.#movement ?? {};
    return progress ? { ...progress, sent: this.#sentBefore + progress.sent } : nothingYet;
  }

  /** False while it needs a link to its host and a first or new one is being made. */
  get linked(): boolean {
    return this.#settled !== undefined || this.#run.linked;
  }

  /** Resolves when the host has accepted its first run. @internal */
  get attached(): Promise<void> {
    return this.#first.attached;
  }

  /** Resolves when its first run moves files. @internal */
  get started(): Promise<unknown> {
    return this.#first.started;
  }

  /** Makes a result that is not ok resolve instead of reject. */
  nothrow(): this {
    this.#throws = false;
    return this;
  }

  // oxlint-disable-next-line unicorn/no-thenable -- a transfer is awaited for its result
  then<A = TransferResult, B = never>(
    onResult?: ((value: TransferResult) => A | PromiseLike<A>) | null,
    onError?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.#result.promise
      .then((result) => {
        if (this.#throws && !result.ok) throw new TransferError(result, { cause: this.#cause });
        return result;
      })
      .then(onResult, onError);
  }

  catch<B = never>(onError?: ((reason: unknown) => B | PromiseLike<B>) | null): Promise<TransferResult | B> {
    return this.then(undefined, onError);
  }

  finally(onEnd?: (() => void) | null): Promise<TransferResult> {
    return this.then().finally(onEnd);
  }

  /**
   * Every event from now on, in order, to the result: each file as it comes to its end, and progress at most four times
   * a second. A slow reader slows the transfer; one that leaves early does not end it.
   * @throws UsageError for a second reader.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<TransferEvent, void, undefined> {
    if (this.#meeting) throw new UsageError('the events of a transfer can be read once');
    const meeting = (this.#meeting = new Meeting<TransferEvent>());
    if (this.#settled) void meeting.offer({ event: 'result', result: this.#settled });
    const progress = setInterval(() => void this.#tellProgress(), PERIOD).unref();
    try {
      for await (const event of meeting.taken()) {
        yield event;
        if (event.event === 'result') return;
      }
    } finally {
      clearInterval(progress);
      meeting.abandon();
    }
  }

  /** Ends the transfer. A file in work is not placed; what has come of it is kept, so that another transfer goes on. */
  async cancel(options: { reason?: string } = {}): Promise<void> {
    if (this.#settled) return;
    this.#cancelled ??= options.reason ?? 'cancelled by the caller';
    this.#ending.abort();
    await this.#result.promise;
  }

  /** Ends the transfer if it has not ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.cancel({ reason: 'the caller left' });
  }

  [INSPECT](depth: number, options: InspectOptions, inspect: Inspect): string {
    if (depth < 0) return '[Transfer]';
    if (this.#settled) return `Transfer ${inspect(this.#settled, options)}`;
    const { host, runId, progress } = this;
    const { files, bytes, sent, failed } = progress;
    return `Transfer ${inspect({ host, runId, state: this.#run.state, files, bytes, sent, failed }, options)}`;
  }

  /** @throws UsageError for a wrong option. */
  #start(runId: string | undefined): Run {
    const { direction, sources, destination, run, deadlineAt } = this.#prepared;
    const patience = readDuration(run.giveUpAfter) ?? GIVE_UP_AFTER;
    const words = direction === 'push' ? [destination as Uint8Array] : sources;
    return this.#begin(
      { verb: direction === 'push' ? 'put' : 'get', argv: words },
      {
        ...run,
        ...(runId === undefined ? {} : { runId }),
        ...(deadlineAt === undefined ? {} : { deadline: Math.max(1, deadlineAt - performance.now()) }),
        stdin: 'pipe',
        maxBuffer: MOST_STDERR,
        signal: this.#ending.signal,
        // A caller that never returns must not leave a program there that waits for it.
        onDisconnect: { termAfter: patience + MARGIN },
      },
    );
  }

  async #conduct(): Promise<void> {
    try {
      for (;;) {
        const run = this.#run;
        const failure = await this.#move(run);
        const result = await run;
        const [outcome, reason] = this.#conclude(result, failure);
        if (outcome !== 'lost' || this.#retries >= this.#prepared.retry || this.#cancelled !== undefined)
          return this.#finish(outcome, reason, result);
        this.#retries += 1;
        this.#sentBefore += this.#movement?.progress.sent ?? 0;
        this.#into ??= this.#movement?.into;
        this.#movement = undefined;
        this.#run = this.#start(newRunId());
        await this.#tell({ event: 'retried', runId: this.#run.runId, reason });
      }
    } catch (error) {
      this.#cause = error;
      this.#finish('failed', (error as Error).message, undefined);
    }
  }

  /** Moves the files over the run's streams. Resolves to the reason why that ended early. */
  async #move(run: Run): Promise<Error | undefined> {
    // These exist from the run's first turn on, whatever loads meanwhile.
    // Our stdin keeps what is not acknowledged in memory of its own.
    const streams = { input: run.stdout, output: run.stdin, copies: true };
    try {
      const { Movement: MovementOfFiles } = await import('./movement.js');
      this.#problems.length = 0;
      this.#movement = new MovementOfFiles(this.#prepared, streams, {
        onFile: async (file) => await this.#noteFile(file),
        signal: this.#ending.signal,
        into: this.#into,
        ...this.#shared,
      });
      await this.#movement.end();
      return undefined;
    } catch (error) {
      await this.#stop(run, error as Error);
      return error as Error;
    } finally {
      streams.output.end();
      run.stopReading('stdout');
    }
  }

  /** Ends a run whose streams have failed, unless it has an end of its own. */
  async #stop(run: Run, error: Error): Promise<void> {
    const isOver = run.then(
      () => true,
      () => true,
    );
    if (codeOf(error) === 'ENDED') {
      let stop: () => void = () => undefined;
      const late = new Promise<boolean>((resolve) => (stop = after(LAST_MOMENTS, () => resolve(false))));
      const ended = await Promise.race([isOver, late]);
      stop();
      if (ended) return;
    }
    void run.cancel({ reason: error.message.slice(0, 1000) }).catch(() => undefined);
  }

  #conclude(result: Result, failure: Error | undefined): readonly [Outcome, string] {
    if (this.#cancelled !== undefined && !(result.ok && !failure)) return ['cancelled', this.#cancelled];
    const isOwn = result.outcome === 'ok' || result.outcome === 'failed';
    if (failure && (isOwn || result.outcome === 'cancelled')) {
      this.#cause ??= failure;
      // That its stream ended says less than how the program did.
      const own = codeOf(failure) === 'ENDED' && !result.ok ? result.reason : failure.message;
      return ['failed', lastLine(result) ?? own];
    }
    if (!isOwn) return [result.outcome, result.reason];
    const { failed, files } = this.#counts;
    if (failed) return ['failed', failed === 1 ? 'one file failed' : `${failed} of ${files + failed} files failed`];
    if (!result.ok) return ['failed', lastLine(result) ?? result.reason];
    return ['ok', 'every file is there'];
  }

  get #counts() {
    const { files = 0, bytes = 0, same = 0, failed = 0, deleted = 0, leftOut = {} } = this.#movement ?? {};
    return { files, bytes, same, failed, deleted, leftOut };
  }

  #finish(outcome: Outcome, reason: string, result: Result | undefined): void {
    if (this.#settled) return;
    const settled = (this.#settled = asTransferResult({
      ok: outcome === 'ok',
      outcome,
      host: this.host,
      runId: this.#run.runId,
      ...this.#counts,
      sent: this.#sentBefore + (this.#movement?.progress.sent ?? 0),
      problems: [...this.#problems],
      retries: this.#retries,
      durationMs: Math.round(performance.now() - this.#begunAt),
      refusal: result?.refusal,
      reason,
    }));
    this.#cause ??= outcome === 'cancelled' ? this.#prepared.signal?.reason : undefined;
    void this.#tell({ event: 'result', result: settled });
    this.#result.resolve(settled);
  }

  async #noteFile(file: TransferFile): Promise<void> {
    if (file.state === 'failed' && this.#problems.length < MOST_PROBLEMS)
      this.#problems.push({ path: file.path, reason: file.reason ?? 'it failed' });
    await this.#tell({ event: 'file', ...file });
  }

  /** Not while the last one waits for its reader, and not without news. */
  async #tellProgress(): Promise<void> {
    const { progress } = this;
    const { files, bytes, sent } = progress;
    const news = `${files} ${bytes} ${sent}`;
    if (this.#told === news || this.#telling || this.#settled) return;
    this.#told = news;
    this.#telling = true;
    await this.#tell({ event: 'progress', ...progress });
    this.#telling = false;
  }

  async #tell(event: TransferEvent): Promise<void> {
    await this.#meeting?.offer(event);
  }

  #watch(signal: AbortSignal | undefined): void {
    if (!signal) return;
    const abort = () => void this.cancel({ reason: 'aborted by the caller' });
    if (signal.aborted) queueMicrotask(abort);
    else {
      // One signal may serve any number of transfers; Node would report a leak.
      setMaxListeners(0, signal);
      signal.addEventListener('abort', abort, { once: true });
      void this.#result.promise.then(() => signal.removeEventListener('abort', abort));
    }
  }
}

const codeOf = (error: Error): unknown => (error as { code?: unknown }).code;

/** The last line that the program there wrote on stderr. */
function lastLine({ stderr }: Result): string | undefined {
  const line = stderr.trimEnd().split('\n').at(-1)?.trim() || undefined;
  return line?.replace(/^sendall: /, '');
}

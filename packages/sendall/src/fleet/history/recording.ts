/** Writes the history of one run on many hosts while it happens. What cannot be written costs the history, not the run. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { Home } from '../../home.js';
import type { Result } from '../../client/result/result.js';
import type { DialEvent } from '../../client/dialling.js';
import type { StreamName } from '../../client/streams/output.js';
import { RecordLog } from '../../files/record-log.js';
import type { HostEvent } from '../fleet.js';
import { Blobs } from './blobs.js';
import { Collected, type Room } from './collected.js';
import { ensureFolder, historyFolder, runFile } from './folder.js';
import { foldHosts, isKept, isShort, type HostEnd, type Piece } from './records.js';

/** Limits of a host's record: characters of a reason or a name, and entries of a list. */
const LONGEST = 1000;
const MOST = 100;

export interface RecordingOptions {
  /**
   * Bytes of output that the run keeps; of the rest it keeps digests.
   * @default 67_108_864
   */
  keepOutput?: number | undefined;
  /** Called once, when something cannot be recorded. */
  failed: (error: Error) => void;
}

const KEEP_OUTPUT = 64 * 1024 * 1024;

/** The hosts of a run, by what is to be recorded of them. */
interface Hosts {
  /** Their end is not known. */
  readonly open: Iterable<string>;
  /** Their end is known, but neither their output nor its digest. */
  readonly bare?: Iterable<string>;
  /** The command was never tried there. */
  readonly skipped?: readonly string[];
  /** Of the others, how many came to which end. */
  readonly outcomes?: Readonly<Record<string, number>>;
}

interface Options extends RecordingOptions {
  /** Tells the time, in milliseconds since the epoch. */
  readonly now: () => number;
  /** Work on the history that goes on meanwhile. */
  readonly meanwhile?: Promise<void>;
}

export class Recording {
  readonly #run: string;
  readonly #home: Home;
  readonly #log: RecordLog;
  readonly #blobs: Blobs;
  readonly #options: Options;
  readonly #room: Room;
  /** Hosts whose end is not known yet. */
  readonly #open: Set<string>;
  /** Hosts whose end is known, but neither their output nor its digest. */
  readonly #bare: Set<string>;
  /** Open hosts that have had no turn yet. */
  readonly #untried: Set<string>;
  readonly #skipped: readonly string[];
  readonly #outcomes: Record<string, number>;
  readonly #joined: boolean;
  readonly #output = new Map<string, Record<StreamName, Collected>>();
  /** Short output by its digest. */
  readonly #short = new Map<string, Piece>();
  #isReady = false;
  #left = false;
  #failed = false;
  /** Ends were recorded. */
  #news = false;

  /**
   * `joined`: the run began earlier, and each of its hosts has had its turn.
   * @internal Use History.begin or History.join.
   */
  constructor(
    home: Home,
    run: string,
    { open, bare = [], skipped = [], outcomes = {} }: Hosts,
    joined: boolean,
    options: Options,
  ) {
    this.#run = run;
    this.#home = home;
    this.#log = new RecordLog(runFile(historyFolder(home), run));
    this.#blobs = new Blobs(historyFolder(home));
    this.#options = options;
    this.#room = { left: options.keepOutput ?? KEEP_OUTPUT };
    this.#open = new Set(open);
    this.#bare = new Set(bare);
    this.#skipped = skipped;
    this.#outcomes = { ...outcomes };
    this.#joined = joined;
    this.#untried = new Set(joined ? [] : this.#open);
    subscribe('sendall:dial', this.#onDial);
  }

  /** Passes events or results on, and records them. */
  async *watch<T extends HostEvent | Result>(source: AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
    for await (const each of source) {
      if (!('event' in each)) this.end(each);
      else if (each.event === 'result') this.end(each.result);
      else if (each.event === 'output') this.#outputOf(each.host)?.[each.stream].add(each.bytes, each.offset);
      else if (each.event === 'gap') this.#outputOf(each.host)?.[each.stream].spoil();
      yield each;
    }
  }

  /** Records how the command ended on a host. */
  end(result: Result): void {
    const { host } = result;
    const output = this.#outputOf(host);
    this.#output.delete(host);
    if (!output) return;
    if (!this.#isEnd(result)) {
      output.stdout.spoil();
      output.stderr.spoil();
      return;
    }
    const isOpen = this.#open.has(host);
    const pieces: Partial<Record<StreamName, Piece>> = {};
    for (const stream of ['stdout', 'stderr'] as const) {
      const collected = output[stream];
      const sha256 = result.sha256[stream];
      collected.takeWhole(result.raw[stream], sha256);
      const piece = collected.finish(result.finals[stream], this.#blobs, this.#options.now(), this.#fail);
      if (piece) pieces[stream] = this.#withDigest(piece, sha256);
    }
    // Its end is known already, and its output was not received this time either.
    if (!isOpen && !Object.values(pieces).every(isKept)) return;
    this.#untried.delete(host);
    this.#open.delete(host);
    this.#bare.delete(host);
    if (isOpen) this.#outcomes[result.outcome] = (this.#outcomes[result.outcome] ?? 0) + 1;
    this.#news = true;
    this.#append(endOf(result, pieces, this.#options.now()));
  }

  /** From now on the caller leaves, and what was not seen to end goes on. */
  leave(): void {
    this.#left = true;
  }

  /**
   * The caller has seen all that it will see. `neverStarted`: hosts on which the command was never tried and never will
   * be; for a joined run they are known already.
   */
  async close(neverStarted: Iterable<string> = []): Promise<void> {
    unsubscribe('sendall:dial', this.#onDial);
    this.#log.close();
    if (!this.#joined) this.#close([...neverStarted]);
    else if (this.#news) this.#close(this.#skipped);
    await this.#options.meanwhile?.catch(this.#fail);
  }

  #close(skipped: readonly string[]): void {
    const open = this.#open.size - skipped.filter((host) => this.#open.has(host)).length;
    this.#attempt(() => {
      const index = new RecordLog(historyFolder(this.#home).index);
      index.append({
        run: this.#run,
        at: this.#options.now(),
        ...(open > 0 ? { closed: 'left' } : { closed: 'ended', outcomes: this.#outcomes }),
        ...(skipped.length ? { neverStarted: foldHosts(skipped) } : {}),
      });
      index.close();
    });
  }

  /** A host has its turn when it is dialled first: from then on the command may run there. */
  readonly #onDial = (message: unknown): void => {
    const { host, state } = message as DialEvent;
    if (state !== 'dialling' || !this.#untried.delete(host)) return;
    this.#append({ host, turn: this.#options.now() });
  };

  /** Undefined for a host of which nothing is to be recorded any more. */
  #outputOf(host: string): Record<StreamName, Collected> | undefined {
    let output = this.#output.get(host);
    if (!output && (this.#open.has(host) || this.#bare.has(host))) {
      output = { stdout: new Collected(this.#room), stderr: new Collected(this.#room) };
      this.#output.set(host, output);
    }
    return output;
  }

  /** Whether the command came to this end, and not only our view of it. */
  #isEnd({ outcome, refusal }: Result): boolean {
    // A caller that leaves cancels nothing.
    if (this.#left && outcome === 'cancelled') return false;
    // A host that cannot be asked now may have had the command before.
    return !this.#joined || refusal !== undefined || !['unreachable', 'refused', 'lost'].includes(outcome);
  }

  /**
   * In a gathered run, equal output is received from one host. Of the others only the digest is known: it leads to the
   * blob, or to the short output that stands in a record.
   */
  #withDigest(piece: Piece, sha256: string | undefined): Piece {
    if (sha256 === undefined || piece.sha256 !== undefined) return piece;
    if (isShort(piece)) {
      this.#short.set(sha256, piece);
      return piece;
    }
    return this.#short.get(sha256) ?? { ...piece, sha256 };
  }

  #append(record: object): void {
    this.#attempt(() => {
      if (!this.#isReady) ensureFolder(historyFolder(this.#home).path);
      this.#isReady = true;
      this.#log.append(record);
    });
  }

  #attempt(write: () => void): void {
    try {
      write();
    } catch (error) {
      this.#fail(error as Error);
    }
  }

  readonly #fail = (error: Error): void => {
    if (this.#failed) return;
    this.#failed = true;
    this.#options.failed(error);
  };
}

function endOf(result: Result, pieces: Partial<Record<StreamName, Piece>>, at: number): HostEnd {
  const { host, runId, outcome, code, signal, timing, gaps, survivors, killProof, rusage, refusal, log, reason } =
    result;
  const { openedMs, startMs, endMs, durationMs } = timing;
  // JSON leaves out what is undefined. The spec's hash would let others check a guess of the command's words.
  return {
    host,
    run: runId,
    at,
    outcome,
    code,
    signal,
    ...pieces,
    stdoutFrom: result.stdoutFrom,
    stderrFrom: result.stderrFrom,
    sha256: result.sha256.stdout === undefined ? undefined : true,
    openedMs,
    startMs,
    endMs,
    durationMs,
    gaps: gaps.length
      ? gaps.slice(0, MOST).map(({ stream, from, to, reason: why }) => ({ stream, from, to, reason: cut(why) }))
      : undefined,
    survivors: survivors.length
      ? survivors.slice(0, MOST).map(({ pid, argv }) => ({ pid, program: cut(argv[0] ?? '') }))
      : undefined,
    killProof,
    rusage,
    refusal,
    log,
    reason: outcome === 'ok' ? undefined : cut(reason),
  } as HostEnd;
}

const cut = (text: string): string => text.slice(0, LONGEST);

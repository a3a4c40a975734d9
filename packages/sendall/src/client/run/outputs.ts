/** A run's output: the streams from the host, and where each of them goes. */
import { UsageError } from '../../errors.js';
import { STREAM } from '../../protocol/messages.js';
import type { PreparedRun } from '../options/options.js';
import { OutputTargets } from '../options/output-target.js';
import { ExactRecords } from '../streams/exact-records.js';
import { Inbound } from '../streams/inbound.js';
import { Output, type StreamName } from '../streams/output.js';

export interface OutputsOwner {
  /** A reader has consumed bytes: new credit may be due. */
  used(): void;
  /** More bytes arrived than `maxBuffer` allows. */
  overflowed(): void;
  /** A reader has stopped reading this stream, given by number. */
  stopped(stream: number): void;
  /** The target named in the options did not take every byte. */
  unwritable(error: Error): void;
}

/** For the common run, whose output is collected or read. */
const ALL_HERE = new OutputTargets({ stdout: undefined, stderr: undefined });
const NAMES = ['stdout', 'stderr'] as const;

export class Outputs {
  stdout: Output;
  stderr: Output;
  /** Single writes, if the host sends a log of them. */
  records: ExactRecords | undefined;
  /** More bytes arrived than `maxBuffer` allows. */
  hasOverflowed = false;
  /** Why the target did not take all output. */
  unwritten: Error | undefined;
  /** Resolves when all redirected output is written; rejects when some cannot be. */
  pouring: Promise<unknown> | undefined;
  readonly #prepared: PreparedRun;
  readonly #owner: OutputsOwner;
  readonly #targets: OutputTargets;

  /**
   * Opens the files named in the options.
   * @throws UsageError when one cannot be written.
   */
  constructor(prepared: PreparedRun, owner: OutputsOwner) {
    this.#prepared = prepared;
    this.#owner = owner;
    this.#targets = prepared.stdout || prepared.stderr ? new OutputTargets(prepared) : ALL_HERE;
    this.stdout = this.#make('stdout');
    this.stderr = this.#make('stderr');
  }

  of(stream: StreamName): Output {
    return stream === 'stderr' ? this.stderr : this.stdout;
  }

  /** Offsets of the next bytes. */
  get offsets(): { stdout: number; stderr: number } {
    return { stdout: this.stdout.inbound.next, stderr: this.stderr.inbound.next };
  }

  /**
   * Matches what the host sends: two pipes, one, a terminal, or a log of single writes. Returns the streams by number.
   */
  shape(streams: readonly number[]): Map<number, Inbound> {
    const inbounds = new Map<number, Inbound>();
    const [stdout, stderr] = [this.stdout.inbound, this.stderr.inbound];
    for (const stream of streams) {
      if (stream === STREAM.stderr) inbounds.set(stream, stderr);
      else if (stream === STREAM.records) {
        this.records = new ExactRecords(new Inbound(stream, false), stdout, stderr);
        inbounds.set(stream, this.records.log);
      } else if (stream === STREAM.stdout || stream === STREAM.pty) {
        stdout.stream = stream;
        if (stream === STREAM.pty) stdout.becomeTerminal();
        inbounds.set(stream, stdout);
      }
    }
    return inbounds;
  }

  /** Starts sending output to the targets in the options. */
  begin(): void {
    for (const stream of NAMES) if (this.#prepared[stream] === 'ignore') this.of(stream).discard();
    const { streams } = this.#targets;
    if (!streams.length) return;
    const failed = (error: unknown): void => {
      this.unwritten ??= error as Error;
      this.#owner.unwritable(this.unwritten);
    };
    this.pouring = Promise.all(
      streams.map((stream) => this.#targets.pour(stream, this.of(stream).readable()).catch(failed)),
    );
  }

  /** Prepares for another try. A reader of a stream keeps it, since nothing has arrived so far. */
  renew(): void {
    if (this.isUnread('stdout')) this.stdout = this.#make('stdout');
    if (this.isUnread('stderr')) this.stderr = this.#make('stderr');
    this.records = undefined;
    this.hasOverflowed = false;
  }

  /** No reader has seen any of it. */
  isUnread(stream: StreamName): boolean {
    return this.of(stream).collects || this.#prepared[stream] === 'ignore';
  }

  /** @throws UsageError for a redirected stream. */
  mustCollect(...streams: readonly StreamName[]): void {
    for (const stream of streams)
      if (this.#targets.streams.includes(stream) || this.#prepared[stream] === 'ignore')
        throw new UsageError(`the run's ${stream} went where its option ${stream} says: there is nothing to read here`);
  }

  /** Drops output that has no other target. */
  stopCollecting(): void {
    for (const stream of NAMES) if (!this.#targets.streams.includes(stream)) this.of(stream).discard();
    this.used();
  }

  /** Stops reading the stream: the command gets SIGPIPE when it writes there. */
  stopReading(stream: StreamName): void {
    if (this.pouring && this.#targets.streams.includes(stream))
      this.unwritten ??= new Error(`not all of ${stream} was written: its reader stopped`);
    this.#stop(stream);
  }

  /** A reader has consumed bytes. */
  used(): void {
    this.records?.settle();
    this.#owner.used();
  }

  /** Ends the streams that have come to their own ends, also while the other one goes on. */
  finishEnded(): void {
    if (this.stdout.inbound.isComplete) this.stdout.finish();
    if (this.stderr.inbound.isComplete) this.stderr.finish();
  }

  /** No more output will arrive. */
  finish(): void {
    this.stdout.finish();
    this.stderr.finish();
  }

  #make(name: StreamName): Output {
    const { spec, maxBuffer } = this.#prepared;
    return new Output(new Inbound(STREAM[name], spec.sha256), maxBuffer, {
      used: () => this.used(),
      overflowed: () => {
        this.hasOverflowed = true;
        this.#owner.overflowed();
      },
      stopped: () => this.#stop(name),
    });
  }

  #stop(stream: StreamName): void {
    this.of(stream).discard();
    this.#owner.stopped(this.of(stream).inbound.stream);
  }
}

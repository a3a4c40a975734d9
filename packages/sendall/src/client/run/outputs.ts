/** A run's output: the streams that the host sends, and where each of them goes. */
import { UsageError } from '../../errors.js';
import { STREAM } from '../../protocol/messages.js';
import type { PreparedRun } from '../options/options.js';
import { OutputTargets } from '../options/output-target.js';
import { ExactRecords } from '../streams/exact-records.js';
import { Inbound } from '../streams/inbound.js';
import { Output, type StreamName } from '../streams/output.js';

export interface OutputsOwner {
  /** Bytes were used up by a reader: new credit may be due. */
  used(): void;
  /** More came than `maxBuffer`. */
  overflowed(): void;
  /** A stream, by its number, is not read any more. */
  stopped(stream: number): void;
  /** Not every byte was taken where the options send it. */
  unwritable(error: Error): void;
}

/** Of a run whose output is collected or read: most are such. */
const ALL_HERE = new OutputTargets({ stdout: undefined, stderr: undefined });
const NAMES = ['stdout', 'stderr'] as const;

export class Outputs {
  stdout: Output;
  stderr: Output;
  /** Single writes, when the host sends a log of them. */
  records: ExactRecords | undefined;
  /** More came than `maxBuffer`. */
  hasOverflowed = false;
  /** Why not all of it was written where it goes. */
  unwritten: Error | undefined;
  /** Resolves when all that goes elsewhere is written, or why not all of it can be. */
  pouring: Promise<unknown> | undefined;
  readonly #prepared: PreparedRun;
  readonly #owner: OutputsOwner;
  readonly #targets: OutputTargets;

  /**
   * Opens the files that the options name.
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

  /** Takes shape as the host sends it: two pipes, one, a terminal, or a log of single writes. Returns it by number. */
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

  /** Sends output where the options say. */
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

  /** For another try. A reader that has one of the streams keeps it: nothing has come so far. */
  renew(): void {
    if (this.isUnread('stdout')) this.stdout = this.#make('stdout');
    if (this.isUnread('stderr')) this.stderr = this.#make('stderr');
    this.records = undefined;
    this.hasOverflowed = false;
  }

  /** No reader was shown anything of it. */
  isUnread(stream: StreamName): boolean {
    return this.of(stream).collects || this.#prepared[stream] === 'ignore';
  }

  /** @throws UsageError for a stream that goes elsewhere. */
  mustCollect(...streams: readonly StreamName[]): void {
    for (const stream of streams)
      if (this.#targets.streams.includes(stream) || this.#prepared[stream] === 'ignore')
        throw new UsageError(`the run's ${stream} went where its option ${stream} says: there is nothing to read here`);
  }

  /** Takes what goes nowhere else and drops it. */
  stopCollecting(): void {
    for (const stream of NAMES) if (!this.#targets.streams.includes(stream)) this.of(stream).discard();
    this.used();
  }

  /** The stream is not read any more: the command gets SIGPIPE when it writes there. */
  stopReading(stream: StreamName): void {
    if (this.pouring && this.#targets.streams.includes(stream))
      this.unwritten ??= new Error(`${stream} was not all written: it is not read any more`);
    this.#stop(stream);
  }

  /** Bytes were used up by a reader. */
  used(): void {
    this.records?.settle();
    this.#owner.used();
  }

  /** Nothing more will come. */
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

/** The output streams of one run: read together, limited together, and where each of them stands. */
import { STREAM, type Exit, type Spec, type StreamState } from '../../protocol/messages.js';
import type { SpoolBudget } from '../output/budget.js';
import { Output, type OutputEvents, type Overflow } from '../output/output.js';
import { fitRecords, type Recorded } from '../output/records.js';
import type { OpenedStream } from './start.js';
import type { RunServices } from './services.js';

/**
 * Milliseconds after which output is first looked for, of commands that start together: most that are short have ended
 * by then, and are read once. To watch their descriptors would cost as much as all else after the start.
 */
const FIRST_LOOK = 20;
/** Bytes of a terminal that may be on their way to the person at it. */
const TERMINAL_AHEAD = 256 * 1024;

/** What the streams tell their run. */
export interface OutputsEvents {
  /** Bytes `offset`… of a stream are in the spool; `gseq` numbers such pieces over all streams. Valid inside the call. */
  grew(stream: number, gseq: number, offset: number, bytes: Buffer): void;
  /** Bytes `from` to `to` were dropped without having been acknowledged. */
  dropped(stream: number, from: number, to: number, reason: string): void;
  /** No more of this stream will come: it ends at `final`. */
  ended(stream: number, final: number): void;
  /** The command has to end: it wrote more than its spec allows. */
  exceeded(reason: string): void;
  /** A stream was stored after all, or stopped or began to wait. */
  changed(): void;
}

export class Outputs implements OutputEvents {
  readonly #services: RunServices;
  /** Its principal's part of the disk. */
  readonly #budget: SpoolBudget;
  readonly #events: OutputsEvents;
  readonly #outputs: Output[] = [];
  /** Streams whose reader went before the command had started. */
  readonly #unread = new Set<number>();
  #spec: Spec | undefined;
  #firstLook: NodeJS.Timeout | undefined;
  #gseq = 0;
  /** Bytes of output that count against `maxOutput`. */
  #written = 0;
  #recorded: Recorded | undefined;

  constructor(services: RunServices, principal: string, events: OutputsEvents) {
    this.#services = services;
    this.#budget = services.holdings.of(principal).spool;
    this.#events = events;
  }

  // -- from the start to the end

  /** The command runs. With `later` its output is looked for after a moment only. */
  start(opened: readonly OpenedStream[], spec: Spec, folder: string, later: boolean): void {
    const { limits } = this.#services;
    this.#spec = spec;
    const { passing = false } = spec;
    const most = Math.min(limits.spoolTotal, passing ? limits.passingSpool : Infinity);
    for (const { stream, source } of opened) {
      const options = {
        stream,
        folder,
        spoolMax: Math.min(spec.spoolMax ?? limits.spoolMax, most),
        overflow: (spec.overflow ?? 'block') as Overflow,
        sha256: spec.sha256 ?? false,
        passing,
        ...(stream === STREAM.pty ? { ahead: TERMINAL_AHEAD } : {}),
      };
      this.#outputs.push(new Output(source, this.#budget, options, this));
    }
    if (later) this.#firstLook = setTimeout(() => this.read(), FIRST_LOOK);
    else this.read();
  }

  /** Reads whenever there is something, from now on. */
  read(): void {
    clearTimeout(this.#firstLook);
    this.#firstLook = undefined;
    for (const output of this.#outputs)
      if (this.#unread.has(output.stream)) output.stop();
      else {
        for (const stream of this.#unread) output.stopOne(stream);
        output.start();
      }
  }

  /** Takes what the pipes hold at this moment. True when all of it is stored. */
  takeRest(): boolean {
    return this.#outputs.map((output) => output.takeRest()).every(Boolean);
  }

  /** No process is left that could write: ends the streams that have no end of file of their own. */
  finish(): void {
    for (const output of this.#outputs) if (output.endless) output.finish();
  }

  /** Gives everything back. The files stay. */
  destroy(): void {
    clearTimeout(this.#firstLook);
    for (const output of this.#outputs) output.destroy();
  }

  get allEnded(): boolean {
    return this.#outputs.every((each) => each.ended);
  }

  // -- what callers do

  acknowledge(stream: number, durable: number): void {
    this.#outputs.find((output) => output.stream === stream)?.acknowledge(durable);
  }

  /** The caller has the run's end and wants no more of any stream. */
  disclaim(): void {
    for (const output of this.#outputs) output.disclaim();
  }

  /** The caller reads this stream no more. Also before the start. */
  stop(stream: number): void {
    const output = this.#outputs.find((each) => each.stream === stream);
    if (output) output.stop();
    else if (this.#outputs.length > 0) for (const each of this.#outputs) each.stopOne(stream);
    else if (stream <= STREAM.records) this.#unread.add(stream);
  }

  /** Whether its reader went before the start. */
  isUnread(stream: number): boolean {
    return this.#unread.has(stream);
  }

  /** Whether a caller is in control. */
  set attended(attended: boolean) {
    for (const output of this.#outputs) output.attended = attended;
  }

  // -- room

  /** Gives acknowledged output back, because all runs together need the room. */
  trim(): void {
    for (const output of this.#outputs) output.trim();
  }

  /** Gives back descriptors that are not in use now. */
  rest(): void {
    for (const output of this.#outputs) output.spool.rest();
  }

  /** What waits for room: a stream's name, or "disk". */
  get blocked(): string | undefined {
    const output = this.#outputs.find((each) => each.blocked);
    if (!output) return undefined;
    if (!output.stored) return 'disk';
    return output.stream === STREAM.stdout ? 'stdout' : output.stream === STREAM.stderr ? 'stderr' : 'output';
  }

  // -- where they stand

  get states(): StreamState[] {
    return this.#outputs.map(({ stream, spool, next, ended }) => ({
      stream,
      first: spool.first,
      next,
      final: ended ? next : undefined,
    }));
  }

  /** For the exit: what was written before it. */
  get upto(): Exit['upto'] {
    return this.#outputs.map((output) => ({
      stream: output.stream,
      offset: output.next,
      crc32: output.crc,
      sha256: output.sha256,
      open: output.ended ? undefined : true,
    }));
  }

  /** With `capture` "exact" or "ordered": how much each stream has in the records that were read. */
  get recorded(): Readonly<Recorded> | undefined {
    return this.#recorded;
  }

  // -- what each tells

  allowed({ stream }: Output, bytes: Buffer): number {
    const max = this.#spec?.maxOutput;
    if (max === undefined && stream !== STREAM.records) return bytes.length;
    const left = max === undefined ? Infinity : max - this.#written;
    let length = Math.min(bytes.length, left);
    if (stream === STREAM.records) {
      // Records are not cut in two, and what stands before their bytes is not the command's.
      const fit = fitRecords(bytes, left);
      const { stdout, stderr } = this.#recorded ?? { stdout: 0, stderr: 0 };
      this.#recorded = { stdout: stdout + fit.stdout, stderr: stderr + fit.stderr };
      this.#written += fit.stdout + fit.stderr;
      ({ length } = fit);
    } else this.#written += length;
    if (max === undefined || length === bytes.length) return length;
    this.#events.exceeded(`it wrote more than ${max} bytes`);
    // Nor is what comes behind one that was too long.
    this.#written = max;
    return length;
  }

  grew(output: Output, offset: number, bytes: Buffer): void {
    this.#events.grew(output.stream, ++this.#gseq, offset, bytes);
  }

  dropped(output: Output, from: number, to: number, reason: string): void {
    this.#events.dropped(output.stream, from, to, reason);
  }

  overflowed({ stream }: Output): void {
    const what = stream === STREAM.stderr ? 'stderr' : 'stdout';
    const spool = this.#spec?.spoolMax ?? this.#services.limits.spoolMax;
    this.#events.exceeded(`its caller did not take its ${what} in time, and the spool of ${spool} bytes was full`);
  }

  ended(output: Output): void {
    this.#events.ended(output.stream, output.next);
  }

  changed(): void {
    this.#events.changed();
  }
}

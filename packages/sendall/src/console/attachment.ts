/**
 * A page's attachment to a run: its output from any offset within the page's credit, its events, and control of it when
 * the page takes it. Bytes are passed on once and in order, also when control is taken or a link is lost in between.
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { SendallError, UsageError } from '../errors.js';
import type { AttachOptions, DialEvent, Host, Run, RunEvent, StreamName } from '../index.js';
import type { Place } from './access.js';
import type { OutputFrame, Opened as OpenedValue } from './messages.js';
import { toldResult } from './past.js';
import type { Seat, Subscription } from './subscription.js';

type Mode = 'watch' | 'control';
type Watching = Subscription<'output'> | Subscription<'terminal'>;
/** What is attached at one time, until control is taken or released. */
interface Turn {
  readonly run: Run;
  readonly mode: Mode;
  readonly stop: AbortController;
  passed: Promise<void>;
}

const hasControl = ({ run, mode }: Turn): boolean => mode === 'control' && run.controlEpoch !== undefined;

/** How it begins. */
export interface Wish extends Place {
  readonly from: AttachOptions['from'];
  readonly mode: Mode;
  readonly size: { readonly cols: number; readonly rows: number } | undefined;
}

export class Attachment implements Seat {
  readonly #host: Host;
  readonly #wish: Wish;
  readonly #sub: Watching;
  readonly #readAhead: number;
  readonly #stdin: { queue: Promise<void> } = { queue: Promise.resolve() };
  #turn: Turn | undefined;
  /** Takes and releases happen one after the other. */
  #turning: Promise<void> = Promise.resolve();
  /** Offset of the next byte for the page. */
  readonly #next = { stdout: 0, stderr: 0 };
  /** Offsets from which on output is new, so that its time is that of its coming. */
  #fresh = { stdout: 0, stderr: 0 };
  #startMs: number | undefined;
  #isTerminal = false;
  #isLost = false;
  #finished = (): void => undefined;
  #failed: (error: unknown) => void = () => undefined;

  constructor(host: Host, wish: Wish, sub: Watching, readAhead: number) {
    this.#host = host;
    this.#wish = wish;
    this.#sub = sub;
    this.#readAhead = readAhead;
  }

  /** Joins the run. @throws RunError when the host does not know it, or cannot be reached. */
  async open(): Promise<OpenedValue<'output'>> {
    const { from, mode } = this.#wish;
    const { run } = await this.#attach(from, mode);
    const past = run.past!;
    this.#isTerminal = run.hasTerminal;
    // Not the run's offsets: on a fast link output has come with the answer.
    Object.assign(this.#next, past.starts);
    // A run whose writes are kept singly comes from its first byte.
    if (typeof from === 'object' && 'stdout' in from) this.#next.stdout = Math.max(this.#next.stdout, from.stdout ?? 0);
    if (typeof from === 'object' && 'stderr' in from) this.#next.stderr = Math.max(this.#next.stderr, from.stderr ?? 0);
    this.#fresh = past.ends;
    this.#turn = { run, mode, stop: new AbortController(), passed: Promise.resolve() };
    await this.#resizeFirst(run, mode);
    return {
      source: 'host',
      terminal: this.#isTerminal,
      from: { ...this.#next },
      have: { ...past.ends },
      screen: past.screen === '' ? undefined : past.screen,
      control: hasControl(this.#turn),
    };
  }

  /** Passes everything on, until the run's end or the page's. */
  async pass(): Promise<void> {
    const { signal } = this.#sub;
    const onDial = (event: unknown): void => void this.#dialled(event as DialEvent);
    const leave = (): void => {
      this.#stopTurn();
      this.#finished();
    };
    subscribe('sendall:dial', onDial);
    signal.addEventListener('abort', leave, { once: true });
    try {
      const over = new Promise<void>((resolve, reject) => {
        this.#finished = resolve;
        this.#failed = reject;
      });
      if (signal.aborted) leave();
      else this.#begin(this.#turn!);
      await over;
    } finally {
      signal.removeEventListener('abort', leave);
      unsubscribe('sendall:dial', onDial);
      this.#stopTurn();
    }
  }

  async take(): Promise<void> {
    await this.#change('control');
  }

  async release(): Promise<void> {
    await this.#change('watch');
  }

  async stdin(bytes: Uint8Array | undefined, end: boolean): Promise<void> {
    const { run } = this.#controlled();
    const { stdin } = run;
    const sent = this.#stdin.queue.then(
      async () =>
        await new Promise<void>((resolve, reject) => {
          const taken = (error?: Error | null): void => {
            stdin.off('error', reject);
            if (error) reject(error);
            else resolve();
          };
          stdin.once('error', reject);
          if (end) stdin.end(bytes ?? Buffer.alloc(0), taken);
          else stdin.write(bytes ?? Buffer.alloc(0), taken);
        }),
    );
    this.#stdin.queue = sent.catch(() => undefined);
    await sent;
  }

  async resize(cols: number, rows: number): Promise<void> {
    await this.#controlled().run.resize(cols, rows);
  }

  /** @throws SendallError unless this page has control. */
  #controlled(): Turn {
    if (this.#turn && hasControl(this.#turn)) return this.#turn;
    throw new SendallError('NOT_IN_CONTROL', 'this page only watches the run: take control first');
  }

  /** Wrapped, as a run is awaited for its result. */
  async #attach(from: AttachOptions['from'], mode: Mode): Promise<{ readonly run: Run }> {
    const run = this.#host.attach(this.#wish.runId, {
      ...(from === undefined ? {} : { from }),
      mode: mode === 'control' ? 'control' : 'observe',
      readAhead: this.#readAhead,
      reject: false,
    });
    try {
      await run.attached;
    } catch (error) {
      const result = await run;
      throw Object.assign(new SendallError(result.outcome.toUpperCase(), result.reason, { cause: error }), { result });
    }
    run.started.then(
      ({ startMs }) => (this.#startMs = startMs),
      () => undefined,
    );
    // A write that fails says so to its own caller, which may be gone by then.
    if (mode === 'control') run.stdin.on('error', () => undefined);
    if (mode === 'control') void run.controlLost.then(() => this.#controlTaken(run)).catch(() => undefined);
    return { run };
  }

  async #resizeFirst(run: Run, mode: Mode): Promise<void> {
    const { size } = this.#wish;
    if (size && mode === 'control' && this.#isTerminal) await run.resize(size.cols, size.rows).catch(() => undefined);
  }

  #change(mode: Mode): Promise<void> {
    const changed = this.#turning.then(async () => {
      const turn = this.#turn;
      if (!turn || this.#sub.over) throw new UsageError('the run has ended, or is watched no longer');
      if (hasControl(turn) === (mode === 'control')) return;
      this.#stopTurn();
      await turn.passed;
      // From the very byte that the page has not got yet.
      const { run } = await this.#attach({ ...this.#next }, mode).catch((error: unknown) => {
        this.#failed(error);
        throw error;
      });
      if (this.#sub.over) {
        await run.detach().catch(() => undefined);
        return;
      }
      const next: Turn = { run, mode, stop: new AbortController(), passed: Promise.resolve() };
      this.#turn = next;
      await this.#resizeFirst(run, mode);
      this.#begin(next);
      // Another caller may have taken it by now.
      await this.#sub.event({ event: 'control', held: hasControl(next) });
    });
    this.#turning = changed.catch(() => undefined);
    return changed;
  }

  async #controlTaken(run: Run): Promise<void> {
    if (this.#turn?.run !== run || this.#turn.stop.signal.aborted) return;
    await this.#sub.event({ event: 'control', held: false });
  }

  #begin(turn: Turn): void {
    turn.passed = this.#passTurn(turn).catch((error: unknown) => this.#failed(error));
  }

  #stopTurn(): void {
    const turn = this.#turn;
    if (!turn || turn.stop.signal.aborted) return;
    turn.stop.abort();
    // Its events end by this, too.
    turn.run.detach().catch(() => undefined);
  }

  async #passTurn({ run, stop }: Turn): Promise<void> {
    for await (const event of run.events()) {
      if (stop.signal.aborted) return;
      if (event.event === 'output') await this.#output(event, stop.signal);
      else if (event.event === 'resumed') {
        this.#isLost = false;
        await this.#sub.event({ event: 'resumed', offsets: event.offsets });
      } else if (event.event === 'gap') {
        const { stream, from, to, reason } = event;
        this.#next[stream] = Math.max(this.#next[stream], to);
        await this.#sub.event({ event: 'gap', stream, from, to, reason });
      } else if (event.event === 'started') await this.#sub.event({ event: 'started', pid: event.pid });
      else {
        await this.#sub.event({ event: 'result', result: toldResult(event.result) });
        this.#finished();
      }
    }
  }

  async #output(event: Extract<RunEvent, { event: 'output' }>, stop: AbortSignal): Promise<void> {
    const { stream, timeUs } = event;
    const known = this.#next[stream] - event.offset;
    // An earlier attachment has passed these on.
    if (known >= event.bytes.length) return;
    let rest = known > 0 ? event.bytes.subarray(known) : event.bytes;
    let offset = event.offset + Math.max(0, known);
    const timeMs = timeUs === undefined ? this.#timeAt(stream, offset) : timeUs / 1000;
    while (rest.length) {
      const credit = await this.#sub.credit(stop);
      if (credit === 0) return;
      const bytes = rest.subarray(0, credit);
      const frame: Omit<OutputFrame, 'sub'> = {
        stream: this.#isTerminal ? 'terminal' : stream,
        offset,
        timeMs,
        bytes,
      };
      offset += bytes.length;
      this.#next[stream] = offset;
      rest = rest.subarray(bytes.length);
      await this.#sub.output(frame);
    }
  }

  /** Milliseconds since the run's start at which this byte came; undefined when it was there before. */
  #timeAt(stream: StreamName, offset: number): number | undefined {
    if (this.#startMs === undefined || offset < this.#fresh[stream]) return undefined;
    return Math.max(0, Date.now() + this.#host.info.clockSkewMs - this.#startMs);
  }

  /** Links of this process are made or lost: perhaps ours. */
  async #dialled({ host, ...event }: DialEvent): Promise<void> {
    const run = this.#turn?.run;
    if (host !== this.#host.id || !run || run.linked || this.#sub.over) return;
    const reason = event.state === 'failed' ? event.reason : '';
    if (event.state === 'linked' || (this.#isLost && reason === '')) return;
    this.#isLost = true;
    await this.#sub.event({ event: 'lost', reason });
  }
}

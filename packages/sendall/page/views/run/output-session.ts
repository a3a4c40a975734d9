/**
 * One run's output on this page: a subscription that reads forward from a place, earlier parts on demand, and where the
 * run and its link stand. While it follows, it takes all that comes and keeps a tail; else only what the reader is near.
 */
import type { EventOf, Opened, Value } from '../../../dist/console/messages.js';
import { feed, type FeedError, type Subscription } from '../../frame/feed.js';
import { Store } from '../../frame/store.js';
import { t } from '../../frame/words.js';
import { plain } from '../../parts/printable.js';
import { bytesText } from '../../parts/format.js';
import { MOST_BYTES, OutputBuffer, STREAMS, type Offsets, type Piece, type Stream } from './output-buffer.js';

export type Result = Extract<EventOf<'output'>, { event: 'result' }>['result'];
export type Listing = NonNullable<Value<'runInfo'>['listing']>;

/** Bytes that the console may send ahead, and after how many it gets credit for more. */
const AHEAD = 2 ** 20;
const CREDIT_STEP = 128 * 1024;
/** Bytes that are shown at first, and that one look at earlier output brings. */
const TAIL = 256 * 1024;
const PART = 256 * 1024;
/** A page that is further behind the command than this goes on at the end. */
const MOST_BEHIND = 2 * MOST_BYTES;
/** Milliseconds between two questions about a run that goes on. */
const LOOK_MS = 1000;

export interface Standing {
  readonly opened: Opened<'output'> | undefined;
  /** The link from the console to the host. */
  readonly isLost: boolean;
  readonly resumes: number;
  readonly pid: number | undefined;
  readonly result: Result | undefined;
  readonly listing: Listing | undefined;
  /** The run cannot be watched. */
  readonly problem: string | undefined;
  readonly isFollowing: boolean;
}

const total = ({ stdout, stderr }: Offsets) => stdout + stderr;

export class OutputSession {
  readonly host: string;
  readonly runId: string;
  readonly buffer: OutputBuffer;
  readonly standing = new Store<Standing>({
    opened: undefined,
    isLost: false,
    resumes: 0,
    pid: undefined,
    result: undefined,
    listing: undefined,
    problem: undefined,
    isFollowing: true,
  });
  /** Told of new or other rows: how many came or went in front. */
  changed: (inFront: number) => void = () => {};
  #live: Subscription | undefined;
  /** Where the subscription begins; undefined: it goes on at the buffer's end. */
  #from: Offsets | { readonly tail: number } | 'start' | undefined;
  #owed = 0;
  /** The reader is near the end of what is here. */
  #isNear = true;
  /** The buffer's end was cut: what comes does not follow on it. */
  #isCut = false;
  #isFetching = false;
  /** Offsets before which the host keeps nothing. */
  #floor: Offsets = { stdout: 0, stderr: 0 };
  #hostEnd: Record<Stream, number> = { stdout: 0, stderr: 0 };
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(host: string, runId: string, buffer: OutputBuffer) {
    this.host = host;
    this.runId = runId;
    this.buffer = buffer;
  }

  /** Begins at the end of the output, or at offsets. */
  start(at?: Offsets): void {
    if (at) {
      this.#from = at;
      this.#set({ isFollowing: false });
    } else this.#from = { tail: TAIL };
    this.#subscribe();
    void this.#look();
    this.#timer = setInterval(() => {
      if (this.isLive && !document.hidden) void this.#look();
    }, LOOK_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#live?.end();
    this.#live = undefined;
    this.changed = () => {};
  }

  get isLive(): boolean {
    const { result, problem } = this.standing.value;
    return result === undefined && problem === undefined;
  }

  /** The ends of the streams on the host, as far as they are known. */
  get hostEnd(): Offsets {
    const { end } = this.buffer;
    const { stdout, stderr } = this.#hostEnd;
    return { stdout: Math.max(stdout, end.stdout), stderr: Math.max(stderr, end.stderr) };
  }

  get hasEarlier(): boolean {
    return STREAMS.some((stream) => this.buffer.begin[stream] > this.#floor[stream]);
  }

  /** Bytes on the host behind what is here. */
  get behind(): number {
    return total(this.hostEnd) - total(this.buffer.end);
  }

  /** Shows the newest output from now on, or keeps what is in sight. */
  follow(isFollowing: boolean): void {
    if (this.standing.value.isFollowing === isFollowing) return;
    this.#set({ isFollowing });
    if (!isFollowing) return;
    if (this.#isCut || this.behind > MOST_BYTES) this.#skipToEnd();
    else this.#giveCredit();
  }

  /** The reader sees the last rows that are here, or nearly. */
  near(isNear: boolean): void {
    this.#isNear = isNear;
    if (!isNear) return;
    if (this.#isCut) this.#restart(this.buffer.end);
    else this.#giveCredit();
  }

  /** Shows the output from these offsets on. */
  jump(to: Offsets): void {
    this.#set({ isFollowing: false });
    this.#restart(to, true);
  }

  /** Brings the part before what is here. */
  async earlier(): Promise<void> {
    if (this.#isFetching || !this.hasEarlier) return;
    this.#isFetching = true;
    const { begin } = this.buffer;
    const until = { ...begin };
    const from = {
      stdout: Math.max(this.#floor.stdout, until.stdout - PART),
      stderr: Math.max(this.#floor.stderr, until.stderr - PART),
    };
    try {
      const pieces = await this.#part(from, until);
      // It could not be had now, or another jump has moved the buffer in the meantime.
      if (!pieces || begin.stdout !== until.stdout || begin.stderr !== until.stderr) return;
      if (pieces.length === 0) this.#floor = until;
      const inFront = this.buffer.prepend(pieces);
      if (this.buffer.trimEnd()) this.#isCut = true;
      this.changed(inFront);
    } finally {
      this.#isFetching = false;
    }
  }

  #set(part: Partial<Standing>): void {
    this.standing.value = { ...this.standing.value, ...part };
  }

  #restart(from: Offsets | { tail: number }, isFresh = false): void {
    this.#live?.end();
    this.#isCut = false;
    this.#from = from;
    if (isFresh && !('tail' in from)) {
      this.buffer.clear(from);
      this.changed(0);
    }
    this.#subscribe();
  }

  /** Leaves out what lies between here and the end; it stays on the host. */
  #skipToEnd(): void {
    this.#restart({ tail: TAIL });
  }

  #subscribe(): void {
    this.#owed = 0;
    this.#live = feed.subscribe(
      'output',
      () => ({
        host: this.host,
        runId: this.runId,
        from: this.#from ?? { ...this.buffer.end },
        credit: AHEAD,
        mode: 'watch' as const,
      }),
      {
        onOpened: (opened) => this.#onOpened(opened),
        onEvent: (event) => this.#onEvent(event),
        onOutput: ({ stream, offset, timeMs, bytes }) =>
          this.#take({ stream: stream === 'stderr' ? 'stderr' : 'stdout', offset, timeMs, bytes }),
        onClosed: (error) => {
          if (error) this.#set({ problem: error.message });
        },
      },
    );
  }

  #onOpened(opened: Opened<'output'>): void {
    this.#owed = 0;
    this.#raiseEnd(opened.have);
    const isWhere = this.#from !== undefined;
    const { end } = this.buffer;
    const isNext = opened.from.stdout === end.stdout && opened.from.stderr === end.stderr;
    if (isWhere && !isNext) {
      // What the host no longer keeps cannot be fetched either.
      if (typeof this.#from === 'object' && !('tail' in this.#from)) this.#raiseFloor(this.#from, opened.from);
      const skipped = total(opened.from) - total(end);
      const isTail = total(end) > 0 && skipped > 0 && this.standing.value.isFollowing;
      this.buffer.clear(opened.from);
      if (isTail) this.buffer.note(t('skippedBytes', { n: bytesText(skipped) }));
      this.changed(0);
    }
    this.#from = undefined;
    this.#set({ opened, isLost: false });
  }

  #raiseFloor(asked: Offsets, got: Offsets): void {
    this.#floor = {
      stdout: got.stdout > asked.stdout ? got.stdout : this.#floor.stdout,
      stderr: got.stderr > asked.stderr ? got.stderr : this.#floor.stderr,
    };
  }

  #raiseEnd(offsets: Offsets): void {
    for (const stream of STREAMS) this.#hostEnd[stream] = Math.max(this.#hostEnd[stream], offsets[stream]);
  }

  #onEvent(event: EventOf<'output'>): void {
    switch (event.event) {
      case 'started':
        this.#set({ pid: event.pid });
        break;
      case 'lost':
        this.#set({ isLost: true });
        break;
      case 'resumed':
        this.#set({ isLost: false, resumes: this.standing.value.resumes + 1 });
        if (!this.#isCut) {
          this.buffer.note(t('linkResumed', { out: event.offsets.stdout + event.offsets.stderr }));
          this.changed(0);
        }
        break;
      case 'gap':
        this.buffer.note(
          t('gapBytes', { n: bytesText(event.to - event.from), stream: event.stream, why: plain(event.reason) }),
        );
        this.changed(0);
        break;
      case 'result':
        this.#set({ result: event.result, isLost: false });
        this.#raiseEnd({ stdout: event.result.stdoutBytes, stderr: event.result.stderrBytes });
        void this.#look();
        break;
      case 'control':
        break;
    }
  }

  #take(piece: Piece & { readonly stream: Stream }): void {
    this.#owed += piece.bytes.length;
    if (this.#isCut) return;
    this.buffer.append(piece);
    const gone = this.buffer.isFull ? this.buffer.trimStart() : 0;
    this.changed(-gone);
    this.#giveCredit();
  }

  /** Lets more come if it is wanted. */
  #giveCredit(): void {
    if (this.#owed < CREDIT_STEP || this.#isCut) return;
    if (!this.standing.value.isFollowing && !this.#isNear) return;
    this.#live?.credit(this.#owed);
    this.#owed = 0;
  }

  /** The pieces between two places; undefined when the host does not tell them. */
  #part(from: Offsets, until: Offsets): Promise<Piece[] | undefined> {
    return new Promise((resolve) => {
      const pieces: Piece[] = [];
      const at: Record<Stream, number> = { ...from };
      const isDone = () => STREAMS.every((stream) => at[stream] >= until[stream]);
      const end = () => {
        subscription.end();
        resolve(pieces);
      };
      const subscription = feed.subscribe(
        'output',
        () => ({
          host: this.host,
          runId: this.runId,
          from: { ...at },
          // Both streams share the credit: what lies behind `until` in one must not keep the other from coming.
          credit: AHEAD,
          mode: 'watch' as const,
        }),
        {
          onOpened: (opened) => {
            for (const stream of STREAMS) at[stream] = Math.max(at[stream], opened.from[stream]);
            this.#raiseFloor(from, opened.from);
            if (isDone()) end();
          },
          onOutput: ({ stream: name, offset, timeMs, bytes }) => {
            const stream: Stream = name === 'stderr' ? 'stderr' : 'stdout';
            subscription.credit(bytes.length);
            const wanted = bytes.subarray(0, Math.max(0, until[stream] - offset));
            if (wanted.length > 0) pieces.push({ stream, offset, timeMs, bytes: wanted });
            at[stream] = Math.max(at[stream], offset + bytes.length);
            if (isDone()) end();
          },
          onEvent: (event) => {
            if (event.event === 'gap') at[event.stream] = Math.max(at[event.stream], event.to);
            if (isDone() || event.event === 'result') end();
          },
          onClosed: (error) => resolve(error ? undefined : pieces),
        },
      );
    });
  }

  /** Asks the host about the run: who is attached, and how much there is by now. */
  async #look(): Promise<void> {
    try {
      const { listing, result } = await feed.ask('runInfo', { host: this.host, runId: this.runId });
      if (listing) this.#raiseEnd({ stdout: listing.stdoutBytes, stderr: listing.stderrBytes });
      this.#set({ listing, ...(result && this.standing.value.result === undefined ? { result } : {}) });
      if (this.standing.value.isFollowing && !this.#isCut && this.behind > MOST_BEHIND) this.#skipToEnd();
    } catch (error) {
      const { code, message } = error as FeedError;
      // The output itself says it if the run is unknown.
      if (code === 'PROTOCOL') feed.trouble.value = message;
    }
  }
}

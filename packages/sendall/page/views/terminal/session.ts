/**
 * A run's terminal in the page: from the feed's frames to the screen, and from its user to the host. Output comes as far
 * ahead as the screen draws it, so a key's effect is never far behind the key.
 */
import { feed, FeedError, type Subscription } from '../../frame/feed.js';
import { Store } from '../../frame/store.js';
import type { EventOf, Opened, OutputFrame } from '../../../dist/console/messages.js';
import { drawPast } from './past.js';
import type { Screen } from './screen.js';
import { Seat } from './seat.js';
import { Typing } from './typing.js';

/** Bytes of a session from before that are drawn: more than any screen and some lines above it. */
const TAIL = 64 * 1024;
/** Bytes on their way to the screen. */
const AHEAD = 256 * 1024;

export type RunResult = Extract<EventOf<'terminal'>, { event: 'result' }>['result'];

/** What the view shows of a session. */
export interface SessionState {
  /** `lost`: the host's link; the feed's own loss is the frame's to show. */
  readonly phase: 'joining' | 'joined' | 'lost' | 'ended' | 'failed';
  readonly control: boolean;
  /** Output from before is still on its way to the screen: until it is drawn, what is typed does not count. */
  readonly behind: boolean;
  /** Another caller has taken control from this page. */
  readonly taken: boolean;
  /** It is no terminal: its output is plain. */
  readonly noTerminal: boolean;
  /** The history tells it, as the host no longer can. */
  readonly past: boolean;
  readonly result?: RunResult;
  readonly error?: FeedError;
}

export interface SessionPlace {
  readonly host: string;
  readonly runId: string;
  readonly control: boolean;
}

export class TerminalSession {
  readonly state: Store<SessionState>;
  readonly #screen: Screen;
  readonly #seat = new Seat();
  readonly #typing: Typing;
  readonly #subscription: Subscription;
  /** Whether to be in control, now and after a loss of the feed. */
  #wantsControl: boolean;
  /** The offset of the next byte; undefined before the first. */
  #next: number | undefined;
  /** A tail of old output until all of it is there, and the modes in which it ends. */
  #past: { readonly end: number; readonly screen: string; readonly pieces: Uint8Array[]; bytes: number } | undefined;
  #size: { readonly cols: number; readonly rows: number } | undefined;
  #telling = false;

  constructor({ host, runId, control }: SessionPlace, screen: Screen) {
    this.#screen = screen;
    this.#wantsControl = control;
    this.state = new Store<SessionState>({
      phase: 'joining',
      control: false,
      behind: true,
      taken: false,
      noTerminal: false,
      past: false,
    });
    this.#typing = new Typing((bytes) => this.#ask('stdin', { base64: base64Of(bytes) }));
    this.#subscription = feed.subscribe(
      'terminal',
      () => ({
        host,
        runId,
        credit: AHEAD,
        from: this.#next === undefined ? { tail: TAIL } : { stdout: this.#next },
        mode: this.#wantsControl ? 'control' : 'watch',
        ...(this.#wantsControl ? screen.size : {}),
      }),
      {
        onOpened: (opened) => this.#opened(opened),
        onEvent: (event) => this.#heard(event),
        onOutput: (frame) => this.#draw(frame),
        onClosed: (error) => this.#closed(error),
      },
    );
  }

  /** What the user typed, or what xterm says by itself. */
  typed(bytes: Uint8Array): void {
    if (this.#seat.maySpeak) this.#typing.type(bytes);
  }

  /** The screen has another size. */
  resized(): void {
    if (this.#seat.inControl) void this.#tellSize();
  }

  async take(): Promise<void> {
    this.#wantsControl = true;
    await this.#ask('take', {});
    // Its event has come before; and another caller's, if that one has control by now.
    if (this.state.value.control) await this.#nudge();
  }

  async release(): Promise<void> {
    this.#wantsControl = false;
    await this.#ask('release', {});
    this.#controlled(false);
  }

  /** Leaves: the command goes on. */
  end(): void {
    this.#typing.drop();
    this.#subscription.end();
  }

  #opened({ from, have, screen = '', control, terminal, source }: Opened<'terminal'>): void {
    const again = this.#next !== undefined;
    const isGap = again && from.stdout > this.#next!;
    if (isGap) this.#screen.reset();
    this.#next = from.stdout;
    this.#past = undefined;
    if ((!again || isGap) && from.stdout > 0 && from.stdout < have.stdout)
      this.#past = { end: have.stdout, screen, pieces: [], bytes: 0 };
    this.#seat.attached({ end: have.stdout, control });
    this.#wantsControl = control;
    // All of it was there before, and is drawn: after a new link, or when there is no output yet.
    this.#seat.drawn(from.stdout);
    this.#change({ phase: 'joined', control, noTerminal: !terminal, past: source === 'history' });
    if (control) void this.#nudge();
  }

  #heard(event: EventOf<'terminal'>): void {
    switch (event.event) {
      case 'lost':
        this.#seat.lost();
        this.#change({ phase: 'lost' });
        break;
      case 'resumed':
        this.#seat.attached({ end: event.offsets.stdout, control: this.state.value.control });
        this.#change({ phase: 'joined' });
        break;
      case 'control':
        this.#wantsControl = event.held;
        this.#controlled(event.held, !event.held && this.state.value.control);
        break;
      case 'result':
        this.#seat.ended();
        this.#change({ phase: 'ended', result: event.result, control: false });
        break;
      default:
    }
  }

  #draw({ offset, bytes }: OutputFrame): void {
    const end = offset + bytes.length;
    this.#next = end;
    const past = this.#past;
    if (past) {
      past.pieces.push(bytes);
      past.bytes += bytes.length;
      this.#subscription.credit(bytes.length);
      if (end < past.end && past.bytes < 2 * TAIL) return;
      this.#past = undefined;
      const whole = new Uint8Array(past.bytes);
      let at = 0;
      for (const piece of past.pieces) {
        whole.set(piece, at);
        at += piece.length;
      }
      this.#screen.write(drawPast(whole, past.screen), () => this.#drawn(end, 0));
    } else this.#screen.write(bytes, () => this.#drawn(end, bytes.length));
  }

  #drawn(offset: number, credit: number): void {
    if (credit > 0) this.#subscription.credit(credit);
    this.#seat.drawn(offset);
    this.#screen.speaks = this.#seat.maySpeak;
    if (this.state.value.behind !== this.#seat.isBehind) this.#change({});
  }

  #controlled(held: boolean, taken = false): void {
    this.#seat.controlled(held);
    if (!held) this.#typing.drop();
    this.#change({ control: held, taken });
  }

  #closed(error: FeedError | undefined): void {
    if (this.state.value.phase === 'ended') return;
    this.#seat.lost();
    this.#change(error ? { phase: 'failed', error, control: false } : { phase: 'ended', control: false });
  }

  #change(news: Partial<SessionState>): void {
    this.#screen.speaks = this.#seat.maySpeak;
    this.state.value = { ...this.state.value, ...news, behind: this.#seat.isBehind };
  }

  /** Makes the program draw again: it notices only real changes of size, so it gets two. */
  async #nudge(): Promise<void> {
    const { cols, rows } = this.#screen.size;
    this.#size = { cols, rows: Math.max(1, rows - 1) };
    await this.#ask('resize', this.#size).catch(() => undefined);
    await this.#tellSize();
  }

  /** One message at a time, always with the latest size. */
  async #tellSize(): Promise<void> {
    if (this.#telling) return;
    this.#telling = true;
    for (
      let size = this.#screen.size;
      size.cols !== this.#size?.cols || size.rows !== this.#size.rows;
      size = this.#screen.size
    ) {
      this.#size = size;
      await this.#ask('resize', size).catch(() => undefined);
    }
    this.#telling = false;
  }

  async #ask<O extends 'take' | 'release' | 'stdin' | 'resize'>(
    op: O,
    more: Omit<Parameters<typeof feed.ask<O>>[1], 'sub'>,
  ): Promise<unknown> {
    return feed.ask(op, { sub: this.#subscription.id, ...more } as Parameters<typeof feed.ask<O>>[1]);
  }
}

function base64Of(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(text);
}

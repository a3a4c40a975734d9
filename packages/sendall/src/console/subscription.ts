/** A subscription of a page: its events in order, its output within the page's credit, its end. */
import { SendallError } from '../errors.js';
import { failureOf } from './failures.js';
import { frameHeader, type EventOf, type Kind, type OutputFrame } from './messages.js';

/** The page, as a subscription sees it. Each resolves when there is room for more. */
export interface Outlet {
  text(message: object): Promise<void>;
  frame(header: Uint8Array, bytes: Uint8Array): Promise<void>;
  /** Takes one of the page's places at runs. Resolves with the function that gives it back. */
  place(): Promise<() => void>;
}

/** A subscription that was opened: the value of its answer, and how to begin its events, after the answer. */
export interface Opened<V extends object = object> {
  readonly value: V;
  /** Resolves when it is over. */
  readonly begin: () => Promise<void>;
}

/** What can be done with a run that a subscription is attached to. */
export interface Seat {
  take(): Promise<void>;
  release(): Promise<void>;
  stdin(bytes: Uint8Array | undefined, end: boolean): Promise<void>;
  resize(cols: number, rows: number): Promise<void>;
}

export class Subscription<K extends Kind = Kind> {
  readonly id: number;
  /** The run that it is attached to. */
  seat: Seat | undefined;
  readonly #outlet: Outlet;
  readonly #most: number;
  readonly #ended: (sub: number) => void;
  readonly #over = new AbortController();
  #credit = 0;
  #wake: (() => void) | undefined;

  /** `most`: bytes of credit; `ended` is called once, when it ends by itself. */
  constructor(id: number, outlet: Outlet, most: number, ended: (sub: number) => void) {
    this.id = id;
    this.#outlet = outlet;
    this.#most = most;
    this.#ended = ended;
  }

  /** Aborts when the page wants no more, or has gone. */
  get signal(): AbortSignal {
    return this.#over.signal;
  }

  get over(): boolean {
    return this.#over.signal.aborted;
  }

  /** The page takes so many bytes more. */
  allow(bytes: number): void {
    this.#credit = Math.min(this.#credit + bytes, this.#most);
    this.#wake?.();
  }

  /** Bytes that may be sent now, once there are any; 0 when `stop` aborts or it is over. */
  async credit(stop: AbortSignal): Promise<number> {
    while (this.#credit === 0 && !stop.aborted && !this.over)
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          stop.removeEventListener('abort', wake);
          this.#wake = undefined;
          resolve();
        };
        this.#wake = wake;
        stop.addEventListener('abort', wake, { once: true });
      });
    return stop.aborted || this.over ? 0 : this.#credit;
  }

  /** Sends output; its bytes are taken from the credit. */
  async output(frame: Omit<OutputFrame, 'sub'>): Promise<void> {
    if (this.over) return;
    this.#credit -= frame.bytes.length;
    await this.#outlet.frame(frameHeader({ ...frame, sub: this.id }), frame.bytes);
  }

  /** Takes a place at a run. @throws SendallError when the page has left meanwhile. */
  async place(): Promise<() => void> {
    const give = await this.#outlet.place();
    if (!this.over) return give;
    give();
    throw new SendallError('LEFT', 'the page left this subscription before it began');
  }

  async event(event: EventOf<K>): Promise<void> {
    if (!this.over) await this.#outlet.text({ sub: this.id, event });
  }

  /** It ends by itself: after its last event, or because of an error. */
  async close(error?: unknown): Promise<void> {
    if (this.over) return;
    this.end();
    this.#ended(this.id);
    await this.#outlet.text({ sub: this.id, closed: error === undefined ? {} : { error: failureOf(error) } });
  }

  /** The page wants no more. */
  end(): void {
    this.#over.abort();
    this.#wake?.();
  }
}

/** @throws SendallError unless the subscription is attached to a run. */
export function seatOf(subscription: Subscription | undefined): Seat {
  if (subscription?.seat) return subscription.seat;
  throw new SendallError('NOT_ATTACHED', 'this subscription is attached to no run, or is over');
}

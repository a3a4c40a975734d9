/**
 * Shows keys before their echo returns, so that typing over a slow link feels local. It does so only when the echo is
 * all but certain: the host says that the terminal echoes, or that the program may do so itself; the previous keys on
 * this very line were echoed unchanged, in time, one by one and with nothing after them, so the cursor is at the end of
 * a line. The host's output is then compared with the keys shown. If it differs, or none arrives within two round
 * trips, they are erased.
 *
 * A key typed between the moment a program switches the echo off and the moment we hear of it may still be shown: for a
 * twentieth of a second plus half a round trip if the terminal's bits change, for two round trips if a program that
 * draws its line itself stops doing so on the same line.
 *
 * The idea is mosh's (Winstein and Balakrishnan, "Mosh: An Interactive Remote Shell for Mobile Clients", USENIX ATC
 * 2012), in its most careful form: it keeps no screen, so it predicts nothing that moves the cursor.
 */
import type { TerminalEcho } from '../../index.js';
import type { Option } from '../words/command.js';

export const echoOptions: Readonly<Record<string, Option>> = {
  'no-predict': { help: 'on a terminal: show keys only when their echo arrives' },
};

/** Keys in a row that must have been echoed as predicted before others are shown. */
const ENOUGH = 2;
/** Characters that programs draw in place of a secret: the echo of such a key proves nothing. */
const MASKS = new Set(Buffer.from('*.#-_ '));
/** Milliseconds always allowed for an echo: a program may be busy for a moment. */
const PATIENCE = 100;
/** The longest assumed round trip, before one was measured. */
const LONGEST = 2000;
/** The weight of a new measurement of the round trip, as in TCP. */
const WEIGHT = 1 / 8;
const TAKE_BACK = '\b \b';
const NOTHING = Buffer.alloc(0);

/** ASCII of one column. */
const isPrintable = (key: number): boolean => key >= 0x20 && key < 0x7f;

interface Awaited {
  readonly key: number;
  /** When it was typed, in milliseconds. */
  readonly at: number;
}

export class PredictedEcho {
  /** Keys whose echo has not arrived, oldest first. */
  #awaited: Awaited[] = [];
  /** Echoes in a row that matched the prediction. */
  #trust = 0;
  /** A key with an unpredictable effect is on its way; no prediction until its echo arrives. */
  #unknown = false;
  /** How the far terminal treats typed keys. While that is unknown, nothing is predicted. */
  #terminal: TerminalEcho | undefined;
  /** Milliseconds from a key to its echo, smoothed. */
  #roundTrip: number;
  #measured = false;
  readonly #now: () => number;

  /** `roundTrip`: an estimate in milliseconds, used until one is measured. */
  constructor(roundTrip: number, now = () => performance.now()) {
    this.#roundTrip = roundTrip;
    this.#now = now;
  }

  /** The awaited keys are on the screen. */
  get #showing(): boolean {
    return this.#trust >= ENOUGH;
  }

  /** The terminal echoes, or its program reads key by key and may echo. */
  get #possible(): boolean {
    return this.#terminal !== undefined && (this.#terminal.echo || !this.#terminal.canonical);
  }

  /** The host has reported how its terminal treats typed keys. Returns what to draw. */
  terminal(terminal: TerminalEcho | undefined): Buffer {
    const { canonical, echo } = this.#terminal ?? {};
    if (terminal && terminal.canonical === canonical && terminal.echo === echo) return NOTHING;
    this.#terminal = terminal;
    // Earlier echoes say nothing about later ones.
    return this.#distrust();
  }

  /** When the oldest key's echo becomes overdue, by the clock; undefined while none is awaited. */
  get dueAt(): number | undefined {
    const [oldest] = this.#awaited;
    return oldest && oldest.at + Math.max(PATIENCE, 2 * this.#roundTrip);
  }

  /** Checks whether an echo is overdue. Returns what to draw. */
  look(): Buffer {
    if (this.#now() < (this.dueAt ?? Infinity)) return NOTHING;
    // Show no more keys until an echo arrives. The link may have become slower.
    this.#unknown = true;
    this.#roundTrip = Math.min(this.#roundTrip * 2, LONGEST);
    return this.#distrust();
  }

  /** These keys are being sent. Returns what to draw for them. */
  typed(keys: Buffer): Buffer {
    const late = this.look();
    if (keys.length !== 1 || !isPrintable(keys[0]!)) this.#unknown = true;
    if (this.#unknown || !this.#possible) return late;
    this.#awaited.push({ key: keys[0]!, at: this.#now() });
    return this.#showing ? keys : NOTHING;
  }

  /** The host has sent this output. Returns what to draw. */
  drawn(bytes: Buffer): Buffer {
    const late = this.look();
    const showing = this.#showing;
    let echoed = 0;
    while (echoed < bytes.length && bytes[echoed] === this.#awaited[echoed]?.key) echoed++;
    this.#believe(this.#awaited.splice(0, echoed));
    const echo = showing ? NOTHING : bytes.subarray(0, echoed);
    if (echoed === bytes.length) {
      const waiting = !showing && this.#showing ? this.#awaited.map(({ key }) => key) : [];
      return Buffer.concat([late, echo, Buffer.from(waiting)]);
    }
    this.#unknown = false;
    return Buffer.concat([late, echo, this.#distrust(showing), bytes.subarray(echoed)]);
  }

  #believe(echoed: readonly Awaited[]): void {
    for (const { key, at } of echoed) {
      const took = this.#now() - at;
      this.#roundTrip = this.#measured ? this.#roundTrip + (took - this.#roundTrip) * WEIGHT : took;
      this.#measured = true;
      if (!MASKS.has(key)) this.#trust += 1;
    }
  }

  /** Stops predicting until keys are echoed again. Returns what erases the keys shown. */
  #distrust(showing = this.#showing): Buffer {
    const shown = showing ? this.#awaited.length : 0;
    this.#awaited = [];
    this.#trust = 0;
    return shown ? Buffer.from(TAKE_BACK.repeat(shown)) : NOTHING;
  }
}

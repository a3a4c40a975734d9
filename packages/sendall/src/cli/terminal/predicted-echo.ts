/**
 * Keys shown before their echo has come back: over a slow link one types as on one's own machine. Only where it is as good
 * as certain: the host says that the terminal shows what is typed, or that the program may do so itself; the keys before
 * were echoed as they are on this very line, in time, each alone and with nothing behind it, so the cursor stands at the
 * end of a line. What the host sends then is compared with what is shown already; where it differs, or nothing comes
 * within two round trips, what was shown is taken back.
 *
 * A key that is typed between the moment when a program switches the echo off and the moment when we hear of it can still
 * be shown: for a twentieth of a second and half a round trip where the terminal's bits change, for two round trips where
 * a program that draws its line itself stops doing so on the same line.
 *
 * The idea is mosh's (Winstein and Balakrishnan, "Mosh: An Interactive Remote Shell for Mobile Clients", USENIX ATC 2012),
 * in its most careful form: no screen is kept, so nothing is foreseen that moves the cursor.
 */
import type { TerminalEcho } from '../../index.js';
import type { Option } from '../words/command.js';

export const echoOptions: Readonly<Record<string, Option>> = {
  'no-predict': { help: 'on a terminal: show keys only when their echo has come' },
};

/** Keys in a row that must have been echoed so before others are shown. */
const ENOUGH = 2;
/** What programs draw instead of a secret: the echo of such a key proves nothing. */
const MASKS = new Set(Buffer.from('*.#-_ '));
/** Milliseconds that an echo may always take: a program may be busy for a moment. */
const PATIENCE = 100;
/** The longest round trip that is believed without having been measured. */
const LONGEST = 2000;
/** How much a new measure of the round trip counts, as TCP has it. */
const WEIGHT = 1 / 8;
const TAKE_BACK = '\b \b';
const NOTHING = Buffer.alloc(0);

/** ASCII that takes one column. */
const isPrintable = (key: number): boolean => key >= 0x20 && key < 0x7f;

interface Awaited {
  readonly key: number;
  /** When it was typed, in milliseconds. */
  readonly at: number;
}

export class PredictedEcho {
  /** Keys whose echo has not come, oldest first. */
  #awaited: Awaited[] = [];
  /** Echoes in a row that were as foreseen. */
  #trust = 0;
  /** A key is on its way whose effect cannot be foreseen; nothing is until something came of it. */
  #unknown = false;
  /** How the far terminal treats what is typed. Who does not know foresees nothing. */
  #terminal: TerminalEcho | undefined;
  /** Milliseconds from a key to its echo, smoothed. */
  #roundTrip: number;
  #measured = false;
  readonly #now: () => number;

  /** `roundTrip`: milliseconds, until one was measured. */
  constructor(roundTrip: number, now = () => performance.now()) {
    this.#roundTrip = roundTrip;
    this.#now = now;
  }

  /** Those awaited are on the screen. */
  get #showing(): boolean {
    return this.#trust >= ENOUGH;
  }

  /** The terminal shows what is typed, or its program reads key by key and may do so. */
  get #possible(): boolean {
    return this.#terminal !== undefined && (this.#terminal.echo || !this.#terminal.canonical);
  }

  /** The host has said how its terminal treats what is typed. Returns what is to be drawn. */
  terminal(terminal: TerminalEcho | undefined): Buffer {
    const { canonical, echo } = this.#terminal ?? {};
    if (terminal && terminal.canonical === canonical && terminal.echo === echo) return NOTHING;
    this.#terminal = terminal;
    // What was echoed before says nothing about what will be.
    return this.#distrust();
  }

  /** When the oldest key's echo is overdue, by the clock; undefined while none is awaited. */
  get dueAt(): number | undefined {
    const [oldest] = this.#awaited;
    return oldest && oldest.at + Math.max(PATIENCE, 2 * this.#roundTrip);
  }

  /** It may be that time. Returns what is to be drawn. */
  look(): Buffer {
    if (this.#now() < (this.dueAt ?? Infinity)) return NOTHING;
    // Whatever is typed on: first something must come. Perhaps the link has become slower.
    this.#unknown = true;
    this.#roundTrip = Math.min(this.#roundTrip * 2, LONGEST);
    return this.#distrust();
  }

  /** These keys are sent now. Returns what is to be shown of them. */
  typed(keys: Buffer): Buffer {
    const late = this.look();
    if (keys.length !== 1 || !isPrintable(keys[0]!)) this.#unknown = true;
    if (this.#unknown || !this.#possible) return late;
    this.#awaited.push({ key: keys[0]!, at: this.#now() });
    return this.#showing ? keys : NOTHING;
  }

  /** The host has sent this. Returns what is to be drawn. */
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

  /** Nothing is foreseen until keys were echoed again. Returns what takes back those that are shown. */
  #distrust(showing = this.#showing): Buffer {
    const shown = showing ? this.#awaited.length : 0;
    this.#awaited = [];
    this.#trust = 0;
    return shown ? Buffer.from(TAKE_BACK.repeat(shown)) : NOTHING;
  }
}

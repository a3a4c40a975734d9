/**
 * Keys shown before their echo has come back: over a slow link one types as on one's own machine. Only where it is as good
 * as certain: the keys before were echoed as they are, each alone and with nothing behind it, so the cursor stands at the
 * end of a line and the program is not asking for a password. What the host sends then is compared with what is shown
 * already; where it differs, what was shown is taken back first.
 *
 * The idea is mosh's (Winstein and Balakrishnan, "Mosh: An Interactive Remote Shell for Mobile Clients", USENIX ATC 2012),
 * in its most careful form: no screen is kept, so nothing is foreseen that moves the cursor.
 */
import type { Option } from './command.js';

export const echoOptions: Readonly<Record<string, Option>> = {
  'no-predict': { help: 'on a terminal: show keys only when their echo has come' },
};

/** Keys in a row that must have been echoed so before others are shown. */
const ENOUGH = 2;
const TAKE_BACK = '\b \b';
const NOTHING = Buffer.alloc(0);

/** ASCII that takes one column. */
const isPrintable = (key: number): boolean => key >= 0x20 && key < 0x7f;

export class PredictedEcho {
  /** Keys whose echo has not come, oldest first. */
  #awaited: number[] = [];
  /** Echoes in a row that were as foreseen. */
  #trust = 0;
  /** A key is on its way whose effect cannot be foreseen; nothing is until something came of it. */
  #unknown = false;

  /** Those awaited are on the screen. */
  get #showing(): boolean {
    return this.#trust >= ENOUGH;
  }

  /** These keys are sent now. Returns what is to be shown of them. */
  typed(keys: Buffer): Buffer {
    if (keys.length !== 1 || !isPrintable(keys[0]!)) this.#unknown = true;
    if (this.#unknown) return NOTHING;
    this.#awaited.push(keys[0]!);
    return this.#showing ? keys : NOTHING;
  }

  /** The host has sent this. Returns what is to be drawn. */
  drawn(bytes: Buffer): Buffer {
    const showing = this.#showing;
    let echoed = 0;
    while (echoed < bytes.length && bytes[echoed] === this.#awaited[echoed]) echoed++;
    this.#awaited = this.#awaited.slice(echoed);
    this.#trust += echoed;
    const echo = showing ? NOTHING : bytes.subarray(0, echoed);
    if (echoed === bytes.length) return !showing && this.#showing ? Buffer.from([...echo, ...this.#awaited]) : echo;
    const tooMuch = showing ? Buffer.from(TAKE_BACK.repeat(this.#awaited.length)) : NOTHING;
    this.#awaited = [];
    this.#trust = 0;
    this.#unknown = false;
    return Buffer.concat([echo, tooMuch, bytes.subarray(echoed)]);
  }
}

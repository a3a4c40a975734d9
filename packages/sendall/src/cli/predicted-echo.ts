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

/** Keys in a row that must have been echoed so before the next one is shown. */
const ENOUGH = 2;
const TAKE_BACK = '\b \b';

/** ASCII that takes one column. */
const isPrintable = (key: number): boolean => key >= 0x20 && key < 0x7f;

export class PredictedEcho {
  /** Keys whose echo has not come, oldest first. */
  #awaited: number[] = [];
  /** So many of them, the newest, are on the screen. */
  #shown = 0;
  /** Echoes in a row that were as foreseen. */
  #trust = 0;
  /** A key is on its way whose effect cannot be foreseen; nothing is until something came of it. */
  #unknown = false;

  /** These keys are sent now. Returns what is to be shown of them now. */
  typed(keys: Buffer): Buffer {
    if (keys.length !== 1 || !isPrintable(keys[0]!)) this.#unknown = true;
    if (this.#unknown) return keys.subarray(0, 0);
    this.#awaited.push(keys[0]!);
    if (this.#trust < ENOUGH || this.#shown < this.#awaited.length - 1) return keys.subarray(0, 0);
    this.#shown++;
    return keys;
  }

  /** The host has sent this. Returns what is to be drawn of it. */
  drawn(bytes: Buffer): Buffer {
    let echoed = 0;
    while (echoed < bytes.length && bytes[echoed] === this.#awaited[echoed]) echoed++;
    const seen = Math.max(0, echoed - (this.#awaited.length - this.#shown));
    this.#awaited = this.#awaited.slice(echoed);
    this.#shown -= seen;
    this.#trust += echoed;
    // What is on the screen already are the last of them.
    const echo = bytes.subarray(0, echoed - seen);
    if (echoed === bytes.length) return echo;
    const back = Buffer.from(TAKE_BACK.repeat(this.#shown));
    this.#awaited = [];
    this.#shown = 0;
    this.#trust = 0;
    this.#unknown = false;
    return Buffer.concat([echo, back, bytes.subarray(echoed)]);
  }
}

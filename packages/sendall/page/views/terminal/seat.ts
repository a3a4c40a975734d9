/**
 * Whether a terminal may speak. xterm answers the queries that it finds in output, so what it says may go to the host
 * only while this page is in control, linked, and has drawn all output from before it came: an answer to an old query
 * would be typed into the program that runs now.
 */

export interface Attached {
  /** The offset behind the output that was there already. */
  readonly end: number;
  /** This page is in control. */
  readonly control: boolean;
}

export class Seat {
  #linked = false;
  #control = false;
  #ended = false;
  /** The offset from which on output is new. */
  #newFrom = Infinity;
  #drawn = 0;

  /** A link was made, the first one or another. */
  attached({ end, control }: Attached): void {
    this.#linked = true;
    this.#newFrom = end;
    this.#control = control;
  }

  /** The link is lost. */
  lost(): void {
    this.#linked = false;
    this.#newFrom = Infinity;
  }

  /** Control was taken, by this page or by another caller. */
  controlled(mine: boolean): void {
    this.#control = mine;
  }

  /** The terminal has drawn all bytes before this offset. */
  drawn(offset: number): void {
    this.#drawn = Math.max(this.#drawn, offset);
  }

  ended(): void {
    this.#ended = true;
  }

  get linked(): boolean {
    return this.#linked;
  }

  get inControl(): boolean {
    return this.#control && !this.#ended;
  }

  get hasEnded(): boolean {
    return this.#ended;
  }

  /** It is still drawing what was there before. */
  get isBehind(): boolean {
    return this.#drawn < this.#newFrom;
  }

  get maySpeak(): boolean {
    return this.inControl && this.#linked && !this.isBehind;
  }
}

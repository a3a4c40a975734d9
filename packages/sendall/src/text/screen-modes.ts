/**
 * The changes a program has made to its terminal: the other screen, the hidden cursor, mouse reports, bracketed paste,
 * colours. A terminal that leaves early undoes them; one that joins late repeats them. Source: xterm control sequences,
 * DEC private modes.
 */

/** Private modes that a running program leaves on; 25, the cursor, is on by default. */
const UNDONE = new Set([1, 9, 47, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1015, 1047, 1049, 2004, 2026]);
const CURSOR = 25;
const LONGEST = 64;
/** Most remembered colour parameters; most programs reset them long before. */
const MOST_COLOURS = 128;
const OTHER_SCREEN = [47, 1047, 1049];

export class ScreenModes {
  readonly #on = new Set<number>();
  #cursorHidden = false;
  #keypad = false;
  /** The attributes that SGR sequences have set since the last reset. */
  #colours = '';
  #rest = '';

  /** Follows output to the terminal. */
  watch(bytes: Buffer): void {
    if (this.#rest === '' && bytes.indexOf(0x1b) < 0) return;
    const text = this.#rest + bytes.toString('latin1');
    let end = 0;
    // eslint-disable-next-line no-control-regex
    for (const match of text.matchAll(/\u001b(?:\[\?([\d;]{1,40})([hl])|\[([\d;:]{0,40})m|([=>c]))/g)) {
      end = match.index + match[0].length;
      if (match[3] !== undefined) this.#colour(match[3]);
      else if (match[4]) this.#single(match[4]);
      else for (const mode of match[1]!.split(';')) this.#set(Number(mode), match[2] === 'h');
    }
    // The beginning of a sequence that continues in the next piece.
    const open = text.lastIndexOf('\u001b');
    this.#rest = open >= end && text.length - open < LONGEST ? text.slice(open) : '';
  }

  /** The sequence that undoes the changes; empty when there are none. */
  undo(): string {
    return this.towards(new ScreenModes());
  }

  /** The sequence that repeats them on another terminal; empty when there are none. */
  redo(): string {
    return new ScreenModes().towards(this);
  }

  /** The program draws on the alternate screen, which has no scrollback. */
  get isOtherScreen(): boolean {
    return OTHER_SCREEN.some((mode) => this.#on.has(mode));
  }

  /** The sequence that takes a terminal from these modes to those of `target`; empty when they are equal. */
  towards(target: ScreenModes): string {
    const only = (a: ScreenModes, b: ScreenModes) => [...a.#on].filter((mode) => !b.#on.has(mode));
    return [
      ...only(this, target).map((mode) => `\u001b[?${mode}l`),
      ...only(target, this).map((mode) => `\u001b[?${mode}h`),
      this.#cursorHidden === target.#cursorHidden ? '' : `\u001b[?25${target.#cursorHidden ? 'l' : 'h'}`,
      this.#keypad === target.#keypad ? '' : `\u001b${target.#keypad ? '=' : '>'}`,
      this.#colours === target.#colours ? '' : `\u001b[0${target.#colours}m`,
    ].join('');
  }

  #set(mode: number, on: boolean): void {
    if (mode === CURSOR) this.#cursorHidden = !on;
    else if (!on) this.#on.delete(mode);
    else if (UNDONE.has(mode)) this.#on.add(mode);
  }

  #colour(parameters: string): void {
    const isReset = /^0*(?:;|$)/.test(parameters);
    const added = isReset ? parameters.replace(/^0*;?/, '') : parameters;
    const all = (isReset ? '' : this.#colours) + (added && `;${added}`);
    this.#colours = all.length > MOST_COLOURS ? `;${added}` : all;
  }

  #single(letter: string): void {
    if (letter === 'c') {
      this.#on.clear();
      this.#cursorHidden = false;
      this.#colours = '';
    }
    this.#keypad = letter === '=';
  }
}

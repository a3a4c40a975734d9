/**
 * What a program has changed about its terminal: the other screen, the hidden cursor, mouse reports, bracketed paste.
 * Whoever leaves in the middle undoes it; whoever sits down in the middle does it again. Source: xterm control
 * sequences, DEC private modes.
 */

/** Private modes that a program in full swing leaves on; 25, the cursor, is on by itself. */
const UNDONE = new Set([1, 9, 47, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1015, 1047, 1049, 2004, 2026]);
const CURSOR = 25;
const LONGEST = 64;

export class ScreenModes {
  readonly #on = new Set<number>();
  #cursorHidden = false;
  #keypad = false;
  #rest = '';

  /** Looks at what goes to the terminal. */
  watch(bytes: Buffer): void {
    if (this.#rest === '' && bytes.indexOf(0x1b) < 0) return;
    const text = this.#rest + bytes.toString('latin1');
    let end = 0;
    // eslint-disable-next-line no-control-regex
    for (const match of text.matchAll(/\u001b(?:\[\?([\d;]{1,40})([hl])|([=>c]))/g)) {
      end = match.index + match[0].length;
      if (match[3]) this.#single(match[3]);
      else for (const mode of match[1]!.split(';')) this.#set(Number(mode), match[2] === 'h');
    }
    // The beginning of a sequence that ends in the next piece.
    const open = text.lastIndexOf('\u001b');
    this.#rest = open >= end && text.length - open < LONGEST ? text.slice(open) : '';
  }

  /** What undoes it; empty when there is nothing. */
  undo(): string {
    const changed = this.#written('l', '\u001b[?25h', '\u001b>');
    return changed && `${changed}\u001b[0m`;
  }

  /** What does it again, on another terminal; empty when there is nothing. */
  redo(): string {
    return this.#written('h', '\u001b[?25l', '\u001b=');
  }

  #written(letter: 'h' | 'l', cursor: string, keypad: string): string {
    const modes = [...this.#on].map((mode) => `\u001b[?${mode}${letter}`).join('');
    return `${modes}${this.#cursorHidden ? cursor : ''}${this.#keypad ? keypad : ''}`;
  }

  #set(mode: number, on: boolean): void {
    if (mode === CURSOR) this.#cursorHidden = !on;
    else if (!on) this.#on.delete(mode);
    else if (UNDONE.has(mode)) this.#on.add(mode);
  }

  #single(letter: string): void {
    if (letter === 'c') {
      this.#on.clear();
      this.#cursorHidden = false;
    }
    this.#keypad = letter === '=';
  }
}

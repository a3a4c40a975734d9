/**
 * One line of ours on the terminal that says what we wait for, and goes again. What programs have written stays: below an
 * unfinished line ours is a line of its own, and on a screen that a program draws it is the last one.
 */
import { writeSync } from 'node:fs';
import { isatty } from 'node:tty';
import { fit, learnWidths } from './columns.js';
import { escapeControl } from './control-characters.js';

const CLEAR = '\r\u001b[K';
const SAVE = '\u001b7\u001b[999;1H\u001b[K';
const RESTORE = '\u001b8';

let shown = false;
/** What was written last did not end its line. */
let unfinished = false;
/** While a program draws all of the screen: has it draw anew what our line has covered. */
let redraw: (() => void) | undefined;

/** What a descriptor leads to does not change, and the question costs a system call. */
const terminals: (boolean | undefined)[] = [];
const isTerminal = (fd: number): boolean => (terminals[fd] ??= isatty(fd));

/** Whether there is anybody to read it. */
export function hasStatusLine(): boolean {
  return isatty(2);
}

/** Shows the line, in place of the one before. */
export function showStatus(text: string): void {
  // The next line is drawn by what is learnt now; this one is at worst cut too early.
  void learnWidths([text]).catch(() => undefined);
  const line = fit(escapeControl(text), (process.stderr.columns || 80) - 1);
  if (redraw) write(SAVE + line + RESTORE);
  else write((unfinished && !shown ? '\n' : CLEAR) + line);
  unfinished &&= redraw !== undefined;
  shown = true;
}

/** Takes it away. */
export function clearStatus(): void {
  if (!shown) return;
  shown = false;
  write(redraw ? SAVE + RESTORE : CLEAR);
  redraw?.();
}

/** Something else is about to be written. */
export function makeWay(fd: number, bytes: Uint8Array): void {
  if (!bytes.length || !isTerminal(fd)) return;
  clearStatus();
  unfinished = bytes.at(-1) !== 0x0a;
}

/** Ends the line that a program, or with `anyhow` the terminal itself, has begun. */
export function endLine(anyhow = false): void {
  if (anyhow || (unfinished && isatty(2))) write('\n');
  unfinished = false;
}

/** From now on the screen is a program's; without one that can be asked to draw it again, no longer. */
export function leaveScreenTo(drawsAnew: (() => void) | undefined): void {
  shown = false;
  redraw = drawsAnew;
}

function write(text: string): void {
  try {
    writeSync(2, text);
  } catch {
    // The terminal is slow or has gone; the line is not worth more.
  }
}

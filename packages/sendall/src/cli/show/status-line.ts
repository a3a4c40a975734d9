/**
 * A transient line of ours on the terminal that says what we wait for. Program output stays intact: after an unfinished
 * line, ours takes a line of its own; on a full-screen program, it takes the last line.
 */
import { writeSync } from 'node:fs';
import { isatty } from 'node:tty';
import { fit, learnWidths } from './columns.js';
import { escapeControl } from './control-characters.js';

const CLEAR = '\r\u001b[K';
const SAVE = '\u001b7\u001b[999;1H\u001b[K';
const RESTORE = '\u001b8';

let shown = false;
/** Writes to a terminal that have not finished: our line would end up in the middle of them. */
let writing = 0;
/** The last output did not end its line. */
let unfinished = false;
/** While a program draws the whole screen: makes it redraw what our line covered. */
let redraw: (() => void) | undefined;

/** Cached, because a descriptor keeps its kind and asking costs a system call. */
const terminals: (boolean | undefined)[] = [];
const isTerminal = (fd: number): boolean => (terminals[fd] ??= isatty(fd));

/** Whether a user can see it. */
export function hasStatusLine(): boolean {
  return isatty(2);
}

/** Shows the line, replacing the one before; not while other output is being written. */
export function showStatus(text: string): void {
  if (writing) return;
  // Loads the widths for the next line; this one is at worst cut too early.
  void learnWidths([text]).catch(() => undefined);
  const line = fit(escapeControl(text), (process.stderr.columns || 80) - 1);
  if (redraw) write(SAVE + line + RESTORE);
  else write((unfinished && !shown ? '\n' : CLEAR) + line);
  unfinished &&= redraw !== undefined;
  shown = true;
}

/** Removes it. */
export function clearStatus(): void {
  if (!shown) return;
  shown = false;
  write(redraw ? SAVE + RESTORE : CLEAR);
  redraw?.();
}

/** Call it before writing other output. */
export function makeWay(fd: number, bytes: Uint8Array): void {
  if (!bytes.length || !isTerminal(fd)) return;
  clearStatus();
  unfinished = bytes.at(-1) !== 0x0a;
}

/** Like `makeWay`, for a write that takes its time. Call the result when it has finished. */
export function makeWayFor(fd: number, bytes: Uint8Array): () => void {
  makeWay(fd, bytes);
  if (!isTerminal(fd)) return () => undefined;
  writing += 1;
  return () => void (writing -= 1);
}

/** Ends an unfinished line of a program or, with `anyhow`, one the terminal itself began. */
export function endLine(anyhow = false): void {
  if (shown) clearStatus();
  else if (anyhow || (unfinished && isatty(2))) write('\n');
  unfinished = false;
}

/** Leaves the screen to a program that can redraw it; without an argument, takes it back. */
export function leaveScreenTo(drawsAnew: (() => void) | undefined): void {
  shown = false;
  redraw = drawsAnew;
}

function write(text: string): void {
  try {
    writeSync(2, text);
  } catch {
    // The terminal is slow or gone; do not wait for it.
  }
}

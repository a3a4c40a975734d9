/** Our own terminal: whether we may use it, its size and its type. */
import { isatty } from 'node:tty';
import { TERMINAL_NAME } from '../../internal.js';
import { isInForeground } from './foreground.js';

/** True when we may read keys and draw; a background job would be stopped for trying. */
export function hasTerminal(): boolean {
  return isatty(0) && isatty(1) && isInForeground();
}

/** The size and type of our terminal. */
export function ownTerminal(): { cols: number; rows: number; term: string } {
  const [cols, rows] = screenSize();
  const { TERM = '' } = process.env;
  return { cols, rows, term: TERMINAL_NAME.test(TERM) ? TERM : 'xterm' };
}

/** Columns and rows. */
export function screenSize(): [cols: number, rows: number] {
  if (!isatty(1)) return [80, 24];
  const [cols, rows] = process.stdout.getWindowSize();
  // A terminal whose size was never set reports 0.
  return [cols || 80, rows || 24];
}

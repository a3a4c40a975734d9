/** What commands write, how they wait for a slow reader, and how they end. */
import { once } from 'node:events';
import { codeOf, onceSignal } from './signals.js';

/** Prints lines on stdout and waits while its reader is slow. A reader that has gone ends the program quietly. */
export async function print(...lines: string[]): Promise<void> {
  if (lines.length === 0) return;
  if (!process.stdout.write(`${lines.join('\n')}\n`)) await once(process.stdout, 'drain');
}

/** Says something beside the output. */
export function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

/**
 * Resolves when what runs until it is stopped is to stop, with the exit code: 0 after SIGINT or SIGTERM, which are how it
 * is stopped, 129 after SIGHUP.
 */
export function interrupted(): Promise<number> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) onceSignal(signal, () => resolve(0));
    onceSignal('SIGHUP', () => resolve(codeOf('SIGHUP')));
  });
}

/** What may wait for a slow reader of a live view. */
const MOST_WAITING = 8 << 20;
let dropped = 0;

/** As `print`, for live views: a reader that does not keep up loses lines, and a line says how many. */
export function printLive(...lines: string[]): void {
  if (process.stdout.writableLength > MOST_WAITING) {
    dropped += lines.length;
    return;
  }
  if (dropped > 0) say(`${dropped} lines were not shown: their reader is too slow`);
  dropped = 0;
  process.stdout.write(`${lines.join('\n')}\n`);
}

/** Prints the output of commands, waits for slow readers, and waits for the signal to stop. */
import { once } from 'node:events';
import { codeOf, onceSignal } from './signals.js';

/** Prints lines on stdout and waits for a slow reader. When the reader leaves, the program ends quietly. */
export async function print(...lines: string[]): Promise<void> {
  if (lines.length === 0) return;
  if (!process.stdout.write(`${lines.join('\n')}\n`)) await once(process.stdout, 'drain');
}

/** Prints a message of our own on stderr. */
export function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

/**
 * Resolves with the exit code when a command that runs until stopped shall stop: 0 after SIGINT or SIGTERM, its normal
 * end, and 129 after SIGHUP.
 */
export function interrupted(): Promise<number> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) onceSignal(signal, () => resolve(0));
    onceSignal('SIGHUP', () => resolve(codeOf('SIGHUP')));
  });
}

/** Bytes that may wait for a slow reader of a live view. */
const MOST_WAITING = 8 << 20;
let dropped = 0;

/** Like `print`, for live views: a reader that does not keep up loses lines, and a message says how many. */
export function printLive(...lines: string[]): void {
  if (process.stdout.writableLength > MOST_WAITING) {
    dropped += lines.length;
    return;
  }
  if (dropped > 0) say(`${dropped} lines were not shown: their reader is too slow`);
  dropped = 0;
  process.stdout.write(`${lines.join('\n')}\n`);
}

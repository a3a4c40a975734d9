import { once } from 'node:events';

/** Prints lines on stdout and waits while its reader is slow. A reader that has gone ends the program quietly. */
export async function print(...lines: string[]): Promise<void> {
  if (lines.length === 0) return;
  if (!process.stdout.write(`${lines.join('\n')}\n`)) await once(process.stdout, 'drain');
}

/** Says something beside the output. */
export function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** Resolves at the first SIGINT or SIGTERM, or when `other` aborts. */
export function interrupted(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
  });
}

/** What may wait for a slow reader of a live view. */
const mostWaiting = 8 << 20;
let dropped = 0;

/** As `print`, for views of what others do: a reader that does not keep up loses lines, and is told how many. */
export function printLive(...lines: string[]): void {
  if (process.stdout.writableLength > mostWaiting) {
    dropped += lines.length;
    return;
  }
  if (dropped > 0) say(`${dropped} lines were not shown: their reader is too slow`);
  dropped = 0;
  process.stdout.write(`${lines.join('\n')}\n`);
}

/** The one place where the CLI speaks: escaped, so that nobody's text can play with the terminal. */
import { writeSync } from 'node:fs';
import { isatty } from 'node:tty';

// eslint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;

/** Text of others, with control characters shown instead of obeyed. */
export function escapeControl(text: string): string {
  return text.replace(CONTROL, (char) => {
    const code = char.charCodeAt(0);
    return code < 256 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16)}`;
  });
}

/** Our own words, on stderr. */
export function say(line: string): void {
  print(2, `${escapeControl(line)}\n`);
}

/** An answer of our own on stdout. */
export function answer(line: string): void {
  print(1, `${escapeControl(line)}\n`);
}

/** One JSON object on one line of stdout. */
export function json(value: unknown): void {
  print(1, `${JSON.stringify(value)}\n`);
}

/** Whether a descriptor may be coloured: a terminal, and nobody asked for none (https://no-color.org). */
function coloured(fd: 1 | 2): boolean {
  return isatty(fd) && !process.env.NO_COLOR && process.env.TERM !== 'dumb';
}

/** A heading on stdout, bold on a terminal. */
export function title(line: string): void {
  print(1, coloured(1) ? `\u001b[1m${escapeControl(line)}\u001b[0m\n` : `${escapeControl(line)}\n`);
}

/** Prints rows in columns padded to their widest cell; the first row is their heading. */
export function table([head, ...rows]: readonly (readonly string[])[]): void {
  const widths: number[] = [];
  for (const row of [head!, ...rows])
    row.forEach((cell, i) => (widths[i] = Math.max(widths[i] ?? 0, escapeControl(cell).length)));
  const padded = (row: readonly string[]) =>
    row
      .map((cell, i) => (i === row.length - 1 ? cell : cell + ' '.repeat(widths[i]! + 2 - escapeControl(cell).length)))
      .join('')
      .trimEnd();
  title(padded(head!));
  for (const row of rows) answer(padded(row));
}

/** Our reader has gone (`| head`) or its disk is full: there is nobody left to answer. */
export class OutputError extends Error {
  /** The reader went away, which is no failure. */
  readonly gone: boolean;

  constructor(cause: NodeJS.ErrnoException) {
    super(`cannot write to stdout: ${reasonOf(cause)}`, { cause });
    this.gone = cause.code === 'EPIPE';
  }
}

/** What a failed write is called by people. */
export function reasonOf(error: NodeJS.ErrnoException): string {
  if (error.code === 'ENOSPC') return 'the disk is full';
  return error.message.replace(/, write$/, '');
}

/** Writes all of it before it returns. Answers are short; what commands write goes through sink.ts. */
function print(fd: 1 | 2, text: string): void {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length;) {
    try {
      at += writeSync(fd, bytes, at);
    } catch (error) {
      // Someone who shares the descriptor made it non-blocking.
      if ((error as NodeJS.ErrnoException).code === 'EAGAIN') pause(5);
      else if (fd === 1) throw new OutputError(error as NodeJS.ErrnoException);
      else return;
    }
  }
}

function pause(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

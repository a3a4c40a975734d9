/** The only place where the CLI prints its own words: escaped, so that no text from a host can control the terminal. */
import { write, writeSync } from 'node:fs';
import { isatty } from 'node:tty';
import { columnsOf, fit, learnWidths } from './columns.js';
import { escapeControl, jsonLine } from './control-characters.js';
import { closedError } from './sink.js';
import { endLine, makeWay } from './status-line.js';

/** Prints one line of our own on stderr. Returns the error if that fails. */
export function say(line: string): NodeJS.ErrnoException | undefined {
  endLine();
  return print(2, `${escapeControl(line)}\n`);
}

/** Prints an answer of our own on stdout, line by line. */
export function answer(...lines: readonly string[]): void {
  print(1, lines.map((line) => `${escapeControl(line)}\n`).join(''));
}

/** Prints words with a raw separator between them and a newline at the end. */
export function answerWords(words: Iterable<string>, separator = '\n'): void {
  const text = [...words].map(escapeControl).join(separator);
  if (text || separator !== '\n') print(1, `${text}\n`);
}

/**
 * Prints the last words of a leaving process within a second or not at all, because their reader may be stuck. A
 * failure is ignored: there is no other place to report it.
 */
export async function lastWords(fd: 1 | 2, line: string): Promise<void> {
  if (fd === 2) endLine();
  const bytes = Buffer.from(`${line}\n`);
  makeWay(fd, bytes);
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, 1000);
    write(fd, bytes, () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

/** Prints one JSON object on one line of stdout. */
export function json(value: unknown): void {
  print(1, `${jsonLine(value)}\n`);
}

/**
 * Whether to colour a descriptor's output: it is a terminal, and the user has not refused colours
 * (https://no-color.org).
 */
export function coloured(fd: 1 | 2): boolean {
  return isatty(fd) && !process.env.NO_COLOR && process.env.TERM !== 'dumb';
}

/** Prints a heading on stdout, bold on a terminal. */
export function title(line: string): void {
  print(1, coloured(1) ? `\u001b[1m${escapeControl(line)}\u001b[0m\n` : `${escapeControl(line)}\n`);
}

/**
 * Prints rows in columns padded to their widest cell; the first row is the heading. `cut`: on a terminal, no row is
 * longer than a line.
 */
export async function table(rows: readonly (readonly string[])[], cut = false): Promise<void> {
  const cells = rows.map((row) => row.map(escapeControl));
  await learnWidths(cells.flat());
  const widths: number[] = [];
  for (const row of cells) row.forEach((cell, i) => (widths[i] = Math.max(widths[i] ?? 0, columnsOf(cell))));
  const most = cut && isatty(1) ? process.stdout.columns || Infinity : Infinity;
  const padded = (row: readonly string[]) => {
    const all = row.map((cell, i) =>
      i === row.length - 1 ? cell : cell + ' '.repeat(widths[i]! + 2 - columnsOf(cell)),
    );
    return fit(all.join('').trimEnd(), most);
  };
  title(padded(cells[0]!));
  for (const row of cells.slice(1)) answer(padded(row));
}

/** Our reader has gone (`| head`) or its disk is full, so an answer would get lost. */
export class OutputError extends Error {
  /** The reader left, which is no failure. */
  readonly gone: boolean;

  constructor(cause: NodeJS.ErrnoException) {
    super(`cannot write to stdout: ${reasonOf(cause)}`, { cause });
    this.gone = cause.code === 'EPIPE';
  }
}

/** A failed write, described for people. */
export function reasonOf(error: NodeJS.ErrnoException): string {
  if (error.code === 'ENOSPC') return 'the disk is full';
  return error.message.replace(/, write$/, '');
}

/**
 * Writes all of `text` before it returns, or throws; for stderr it returns the error instead. Answers are short; output
 * of commands goes through sink.ts.
 */
function print(fd: 1 | 2, text: string): NodeJS.ErrnoException | undefined {
  const bytes = Buffer.from(text);
  const closed = closedError(fd);
  if (closed && fd === 1) throw new OutputError(closed);
  if (closed) return closed;
  makeWay(fd, bytes);
  for (let at = 0; at < bytes.length;) {
    try {
      at += writeSync(fd, bytes, at);
    } catch (error) {
      // A process that shares the descriptor made it non-blocking.
      if ((error as NodeJS.ErrnoException).code === 'EAGAIN') pause(5);
      else if (fd === 1) throw new OutputError(error as NodeJS.ErrnoException);
      else return error as NodeJS.ErrnoException;
    }
  }
  return undefined;
}

function pause(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

/** The one place where the CLI speaks: escaped, so that nobody's text can play with the terminal. */

// eslint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;

/** Text of others, with control characters shown instead of obeyed. */
export function escapeControl(text: string): string {
  return text.replace(CONTROL, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

export function say(line: string): void {
  process.stderr.write(`${escapeControl(line)}\n`);
}

/** An answer of our own on stdout. */
export function answer(line: string): void {
  process.stdout.write(`${escapeControl(line)}\n`);
}

/** One JSON object on one line of stdout. False: the pipe is full, wait for drain. */
export function json(value: unknown): boolean {
  return process.stdout.write(`${JSON.stringify(value)}\n`);
}

/** Columns padded to their widest cell. */
export function table(rows: readonly (readonly string[])[]): string {
  const clean = rows.map((row) => row.map(escapeControl));
  const widths: number[] = [];
  for (const row of clean) row.forEach((cell, i) => (widths[i] = Math.max(widths[i] ?? 0, cell.length)));
  return clean
    .map((row) => row.map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i]! + 2))).join(''))
    .join('\n');
}

/** The width of text on a terminal. */
import stringWidth from 'string-width';

/** The columns a text takes on a terminal. */
export function width(value: string): number {
  return /^[ -~]*$/.test(value) ? value.length : stringWidth(value);
}

export function padEnd(value: string, columns: number): string {
  return value + ' '.repeat(Math.max(0, columns - width(value)));
}

export function padStart(value: string, columns: number): string {
  return ' '.repeat(Math.max(0, columns - width(value))) + value;
}

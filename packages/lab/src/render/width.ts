/** The width of text on a terminal. */
import stringWidth from 'string-width';

/** How many columns of a terminal a text takes. */
export function width(value: string): number {
  return /^[ -~]*$/.test(value) ? value.length : stringWidth(value);
}

export function padEnd(value: string, columns: number): string {
  return value + ' '.repeat(Math.max(0, columns - width(value)));
}

export function padStart(value: string, columns: number): string {
  return ' '.repeat(Math.max(0, columns - width(value))) + value;
}

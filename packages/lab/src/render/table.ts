/** Tables for a terminal. */
import { padEnd, padStart, width } from './width.js';

/** A plain table: numbers aligned right, words left. */
export function table(columns: readonly string[], rows: readonly (readonly (string | number)[])[]): string[] {
  const cells = [columns, ...rows.map((row) => row.map(String))];
  const widths = columns.map((_, index) => Math.max(...cells.map((row) => width(row[index] ?? ''))));
  const numeric = columns.map((_, index) => rows.every((row) => typeof row[index] === 'number'));
  const line = (row: readonly string[]) =>
    row
      .map((cell, index) => (numeric[index] ? padStart(cell, widths[index]!) : padEnd(cell, widths[index]!)))
      .join('  ')
      .trimEnd();
  return [line(columns), widths.map((columns) => '-'.repeat(columns)).join('  '), ...cells.slice(1).map(line)];
}

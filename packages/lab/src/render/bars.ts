/** Bar plots for a terminal. */
import { padEnd, padStart, width } from './width.js';

export interface Bar {
  readonly label: string;
  readonly value: number;
}

/** A plot for a terminal: one bar for each value, the longest as wide as `columns`. */
export function bars(values: readonly Bar[], unit: string, columns = 44): string[] {
  const most = Math.max(...values.map((bar) => bar.value), Number.MIN_VALUE);
  const labels = Math.max(...values.map((bar) => width(bar.label)));
  const numbers = Math.max(...values.map((bar) => String(bar.value).length));
  return values.map((bar) => {
    const length = Math.max(bar.value > 0 ? 1 : 0, Math.round((bar.value / most) * columns));
    return `${padEnd(bar.label, labels)}  ${padStart(String(bar.value), numbers)} ${unit}  ${'█'.repeat(length)}`.trimEnd();
  });
}

/** Figures of the benchmark: medians, CPU seconds, the table and the result lines. */
import { readFileSync } from 'node:fs';

export function percentile(values: readonly number[], percent: number) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * percent) / 100))] ?? Number.NaN;
}

export const median = (values: readonly number[]) => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

/** Kernel clock ticks a second: USER_HZ is 100 on every Linux that Node runs on. */
const HZ = 100;

/** CPU seconds of processes and of the children they have waited for. */
export function cpuOf(pids: readonly number[]) {
  let ticks = 0;
  for (const pid of pids) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      for (const field of fields.slice(11, 15)) ticks += Number(field);
    } catch {
      // The process has ended; its time counts with its parent.
    }
  }
  return ticks / HZ;
}

export function short(value: number) {
  if (!Number.isFinite(value)) return '-';
  const size = Math.abs(value);
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : size >= 0.095 ? 2 : 3);
}

export interface Row {
  name: string;
  /** The comparison, for people. */
  what: string;
  /** Whether the ratio should be small or large. */
  want: '<=' | '>=';
  /** Ours over the peer's; the median of the rounds. */
  ratio: number;
  /** One ratio for each round. */
  ratios: readonly number[];
  bar?: number;
  goal?: number;
  ours: number;
  peer: number;
  unit: string;
}

export function print(rows: readonly Row[]) {
  const head = ['row', 'ours', 'peer', 'unit', 'ratio (range)', 'bar', 'goal', ''];
  const lines = rows.map(({ name, want, ratio, ratios, bar, goal, ours, peer, unit }) => {
    const meets = (limit: number | undefined) =>
      limit !== undefined && (want === '<=' ? ratio <= limit : ratio >= limit);
    const range = ratios.length > 1 ? ` (${short(Math.min(...ratios))}-${short(Math.max(...ratios))})` : '';
    return [
      name,
      short(ours),
      short(peer),
      unit,
      `${short(ratio)}${range}`,
      bar === undefined ? '' : `${want} ${bar}`,
      goal === undefined ? '' : `${want} ${goal}`,
      bar === undefined && goal === undefined ? '' : meets(goal) ? 'goal' : meets(bar) ? 'bar' : 'MISSED',
    ];
  });
  const widths = head.map((title, column) => Math.max(title.length, ...lines.map((line) => line[column].length)));
  const show = (cells: readonly string[]) =>
    console.log(`| ${cells.map((cell, column) => cell.padEnd(widths[column])).join(' | ')} |`);
  show(head);
  show(widths.map((width) => '-'.repeat(width)));
  for (const line of lines) show(line);
  for (const { name, ratio, bar, goal, ours, peer, unit } of rows)
    console.log(
      `result: ${JSON.stringify({ name, ratio: round(ratio), bar, goal, ours: round(ours), peer: round(peer), unit })}`,
    );
}

const round = (value: number) => Number(value.toPrecision(4));

// @ts-check
/** Numbers of the benchmark: medians, CPU seconds, the table and the result lines. */
import { readFileSync } from 'node:fs';

/** @param {readonly number[]} values @param {number} percent */
export function percentile(values, percent) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * percent) / 100))] ?? Number.NaN;
}

/** @param {readonly number[]} values */
export const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

/** Kernel clock ticks a second: USER_HZ is 100 on every Linux that Node runs on. */
const HZ = 100;

/** CPU seconds of processes and of the children they have waited for. @param {readonly number[]} pids */
export function cpuOf(pids) {
  let ticks = 0;
  for (const pid of pids) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      for (const field of fields.slice(11, 15)) ticks += Number(field);
    } catch {
      // It has ended; its parent has its time.
    }
  }
  return ticks / HZ;
}

/** @param {number} value */
export function short(value) {
  if (!Number.isFinite(value)) return '-';
  const size = Math.abs(value);
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : size >= 0.095 ? 2 : 3);
}

/**
 * @typedef {object} Row
 * @property {string} name
 * @property {string} what What is compared, for people.
 * @property {'<=' | '>='} want Whether the ratio should be small or large.
 * @property {number} ratio Ours over the peer's; the median of the rounds.
 * @property {readonly number[]} ratios One a round.
 * @property {number} [bar]
 * @property {number} [goal]
 * @property {number} ours
 * @property {number} peer
 * @property {string} unit
 */

/** @param {readonly Row[]} rows */
export function print(rows) {
  const head = ['row', 'ours', 'peer', 'unit', 'ratio (range)', 'bar', 'goal', ''];
  const lines = rows.map(({ name, want, ratio, ratios, bar, goal, ours, peer, unit }) => {
    const meets = (/** @type {number | undefined} */ limit) =>
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
  const show = (/** @type {readonly string[]} */ cells) =>
    console.log(`| ${cells.map((cell, column) => cell.padEnd(widths[column])).join(' | ')} |`);
  show(head);
  show(widths.map((width) => '-'.repeat(width)));
  for (const line of lines) show(line);
  for (const { name, ratio, bar, goal, ours, peer, unit } of rows)
    console.log(
      `result: ${JSON.stringify({ name, ratio: round(ratio), bar, goal, ours: round(ours), peer: round(peer), unit })}`,
    );
}

const round = (/** @type {number} */ value) => Number(value.toPrecision(4));

/** Requests of several clients as lines for a terminal: a line for each client, over one time. */
import { text, type Lang } from '../lang.js';
import type { Request } from '../phenomena/phenomenon.js';

const COLUMNS = 50;
const client = text('client', '客户端');

export function requestLines(requests: readonly Request[], lang: Lang): string[] {
  const last = Math.max(1e-3, ...requests.map(({ toMs }) => toMs));
  const column = (ms: number): number => Math.min(COLUMNS - 1, Math.max(0, Math.floor((ms / last) * COLUMNS)));
  return requests.map(({ fromMs, toMs }, i) => {
    const from = column(fromMs);
    const bar = '█'.repeat(column(toMs) - from + 1);
    return `${client[lang]} ${i + 1}  ${`${' '.repeat(from)}${bar}`.padEnd(COLUMNS)}  ${toMs.toFixed(1)} ms`;
  });
}

import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Deadlines } from '../../dist/keeper/run/deadlines.js';

const DAY = 86_400_000;
beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test('a timeout of forty days ends nothing after a month', () => {
  const ended: string[] = [];
  const deadlines = new Deadlines((cause) => ended.push(cause));
  deadlines.start({ verb: 'exec', argv: [], env: [], tags: [], secrets: [], stdin: false, timeoutMs: 40 * DAY });
  vi.advanceTimersByTime(39 * DAY);
  expect(ended).toEqual([]);
  vi.advanceTimersByTime(DAY);
  expect(ended).toEqual(['timeout']);
});

test('one that was stopped in its second part ends nothing', () => {
  const ended: string[] = [];
  const deadlines = new Deadlines((cause) => ended.push(cause));
  deadlines.away(40 * DAY, 'away');
  vi.advanceTimersByTime(30 * DAY);
  deadlines.back();
  vi.advanceTimersByTime(30 * DAY);
  expect(ended).toEqual([]);
});

test('a deadline ends a command that started late as long after its opening', () => {
  const ended: string[] = [];
  const deadlines = new Deadlines((cause, reason) => ended.push(`${cause}: ${reason}`));
  const endBy = performance.now() + 1000;
  vi.advanceTimersByTime(600);
  deadlines.start({ verb: 'exec', argv: [], env: [], tags: [], secrets: [], stdin: false, timeoutMs: 1000 }, endBy);
  vi.advanceTimersByTime(399);
  expect(ended).toEqual([]);
  vi.advanceTimersByTime(1);
  expect(ended).toEqual(['timeout: its deadline has passed']);
});

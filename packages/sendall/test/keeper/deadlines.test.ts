import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Deadlines } from '../../dist/keeper/run/deadlines.js';

const DAY = 86_400_000;
/** Behind a timer, the reads of the same turn come first. */
const READ = 1;
beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test('a timeout of forty days ends nothing after a month', () => {
  const ended: string[] = [];
  const deadlines = new Deadlines((cause) => ended.push(cause));
  deadlines.start({ verb: 'exec', argv: [], env: [], tags: [], secrets: [], stdin: false, timeoutMs: 40 * DAY });
  vi.advanceTimersByTime(39 * DAY);
  expect(ended).toEqual([]);
  vi.advanceTimersByTime(DAY + READ);
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

test('an idle timeout counts silence only: it begins anew with everything that is read or written', () => {
  const ended: string[] = [];
  const deadlines = new Deadlines((cause, reason) => ended.push(`${cause}: ${reason}`));
  deadlines.start({ verb: 'exec', argv: [], env: [], tags: [], secrets: [], stdin: false, idleMs: 1000 });
  for (let i = 0; i < 5; i++) {
    vi.advanceTimersByTime(900);
    deadlines.active();
  }
  vi.advanceTimersByTime(999);
  expect(ended).toEqual([]);
  vi.advanceTimersByTime(2);
  expect(ended).toEqual(['idle: it was quiet for 1000 ms']);
});

test('a keeper that was stopped for longer than an idle timeout reads what the command wrote before it judges', () => {
  const ended: string[] = [];
  const deadlines = new Deadlines((cause) => ended.push(cause));
  deadlines.start({ verb: 'exec', argv: [], env: [], tags: [], secrets: [], stdin: false, idleMs: 1000 });
  // The read comes behind the timer in the same turn of the event loop.
  setTimeout(() => deadlines.active(), 1000);
  vi.advanceTimersByTime(1500);
  expect(ended).toEqual([]);
  vi.advanceTimersByTime(1000);
  expect(ended).toEqual(['idle']);
});

test('a deadline ends a command that started late as long after its opening', () => {
  const ended: string[] = [];
  const deadlines = new Deadlines((cause, reason) => ended.push(`${cause}: ${reason}`));
  const endBy = performance.now() + 1000;
  vi.advanceTimersByTime(600);
  deadlines.start({ verb: 'exec', argv: [], env: [], tags: [], secrets: [], stdin: false, timeoutMs: 1000 }, endBy);
  vi.advanceTimersByTime(399);
  expect(ended).toEqual([]);
  vi.advanceTimersByTime(1 + READ);
  expect(ended).toEqual(['timeout: its deadline has passed']);
});

test.each([
  ['a timeout', 1000, undefined],
  ['a deadline', undefined, 1000],
])('a keeper that was stopped for longer than %s hears first that the command has ended', (_, timeoutMs, left) => {
  const ended: string[] = [];
  const deadlines = new Deadlines((cause) => ended.push(cause));
  const spec = { verb: 'exec', argv: [], env: [], tags: [], secrets: [], stdin: false, timeoutMs };
  deadlines.start(spec, left && performance.now() + left);
  // Word of its end comes behind the timer in the same turn of the event loop.
  setTimeout(() => deadlines.stop(), 1000);
  vi.advanceTimersByTime(5000);
  expect(ended).toEqual([]);
});

test('a keeper that was stopped for longer than a caller may be away hears first that it is back', () => {
  const ended: string[] = [];
  const deadlines = new Deadlines((cause) => ended.push(cause));
  deadlines.away(1000, 'away');
  setTimeout(() => deadlines.back(), 1000);
  vi.advanceTimersByTime(5000);
  expect(ended).toEqual([]);
});

test('a wait for a caller goes on with its reason, and begins anew with another one', () => {
  const ended: string[] = [];
  const deadlines = new Deadlines((_, reason) => ended.push(reason));
  deadlines.away(1000, 'away');
  vi.advanceTimersByTime(900);
  deadlines.away(1000, 'away');
  vi.advanceTimersByTime(100 + READ);
  expect(ended).toEqual(['away']);
  deadlines.away(1000, 'away');
  deadlines.away(500, 'gone');
  vi.advanceTimersByTime(5000);
  expect(ended).toEqual(['away', 'gone']);
});

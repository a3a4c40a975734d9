/** How signals leave and cancel a run, where the order of what happens decides. */
import { afterEach, expect, onTestFinished, test, vi } from 'vitest';
import { watchSignals } from '../../src/cli/leaving/interrupt.js';

afterEach(() => void vi.useRealTimers());

function watched() {
  const reasons: string[] = [];
  let answer!: () => void;
  const answered = new Promise<void>((resolve) => (answer = resolve));
  const run = {
    linked: true,
    cancel: async ({ reason }: { reason: string }) => {
      reasons.push(reason);
      await answered;
    },
  };
  const watch = watchSignals(run, 0);
  onTestFinished(() => watch.off());
  return { reasons, answer, departed: watch.departed };
}

test.each(['SIGTERM', 'SIGINT'] as const)('what SIGHUP has left is not cancelled by %s', async (signal) => {
  const { reasons, departed } = watched();
  process.emit('SIGHUP', 'SIGHUP');
  process.emit(signal, signal);
  expect(await departed).toBe('hungUp');
  expect(reasons).toEqual([]);
});

test('a cancellation that was confirmed in time is no lost one, though this process stood still', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  const { reasons, answer, departed } = watched();
  process.emit('SIGTERM', 'SIGTERM');
  expect(reasons).toEqual(['ended by SIGTERM']);
  let left: string | undefined;
  void departed.then((how) => (left = how));
  // The answer waits to be read, and the time is over.
  setImmediate(answer);
  vi.advanceTimersByTime(3000);
  await new Promise((resolve) => setImmediate(resolve));
  await new Promise((resolve) => setImmediate(resolve));
  expect(left).toBeUndefined();
});

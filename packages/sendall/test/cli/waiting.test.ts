/** The looks at a silent command: keys ask for one soon, and never for two ways of looking. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Host, Run } from '../../src/index.js';
import { showWaiting } from '../../src/cli/show/waiting.js';
import { Arguments } from '../../src/cli/words/command.js';

vi.mock('../../src/cli/show/status-line.js', () => ({
  hasStatusLine: () => true,
  showStatus: () => undefined,
  clearStatus: () => undefined,
}));
beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test('keys that are typed while the host is asked do not add a second chain of questions', async () => {
  const answers: (() => void)[] = [];
  const host = {
    id: 'web1',
    async *runs() {
      await new Promise<void>((resolve) => answers.push(resolve));
      yield* [];
    },
  } as unknown as Host;
  // oxlint-disable-next-line unicorn/no-thenable -- as a run is
  const run = { runId: 'id', offsets: { stdout: 0, stderr: 0 }, then: () => undefined } as unknown as Run;
  const typed = showWaiting(host, run, new Arguments(new Map(), [], undefined));
  /** The next question, and its answer. */
  const answered = async (meanwhile: () => void = () => undefined) => {
    const before = answers.length;
    while (answers.length === before) await vi.advanceTimersToNextTimerAsync();
    meanwhile();
    answers.at(-1)!();
    await vi.advanceTimersByTimeAsync(0);
  };
  await answered();
  expect(vi.getTimerCount()).toBe(1);
  for (let i = 0; i < 5; i++) await answered(typed);
  expect(vi.getTimerCount()).toBe(1);
});

/** The presses of a button that asks before it acts. */
import type { Locator } from 'playwright-core';
import { patience, until } from '../../../../test/support/waits.js';

export interface Asking {
  /** The button, and what it becomes when it asks. */
  readonly ask: Locator;
  readonly sure: Locator;
  /** What is there when it has acted. */
  readonly acted: Locator;
}

/**
 * Presses it until it has acted. A double click is no answer to its question, and it withdraws a question that nothing
 * answers for some seconds: a slow machine is too early or too late now and then, and tries again.
 */
export async function pressTwice({ ask, sure, acted }: Asking): Promise<void> {
  const briefly = { timeout: patience(2000) };
  await until(async () => {
    if (await acted.isVisible()) return true;
    const button = (await sure.isVisible()) ? sure : ask;
    // It is another button as soon as it has acted.
    await button.click(briefly).catch(() => undefined);
    return acted.isVisible();
  }, 'a button to act');
}

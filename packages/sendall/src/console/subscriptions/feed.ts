/** What serves a subscription. */
import type { Context } from '../context.js';
import type { Kind, Opened as OpenedValue, Subscribed } from '../messages.js';
import type { Opened, Subscription } from '../subscription.js';

/** Opens a subscription, or throws. */
export type Feed<K extends Kind> = (
  asked: Subscribed<K>,
  sub: Subscription<K>,
  context: Context,
) => Promise<Opened<OpenedValue<K>>>;

/** Resolves after so many milliseconds, or as soon as the signal aborts. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end, { once: true });
  });
}

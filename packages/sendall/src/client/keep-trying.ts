/** Tries again and again to reach a host, for as long as the caller wants: over the restart of its agent, for example. */
import { setTimeout as sleep } from 'node:timers/promises';
import { UnreachableError } from '../errors.js';

/** Milliseconds before the second attempt; each later pause is twice as long, up to the longest, with jitter. */
const FIRST_PAUSE = 50;
const LONGEST_PAUSE = 1000;

export interface Patience {
  /** Milliseconds for all attempts together. */
  readonly forMs: number;
  /** Milliseconds for the first attempt. One that takes all of its time is followed by one with twice as much. */
  readonly attemptMs: number;
  /** Aborting ends the wait. */
  readonly signal: AbortSignal | undefined;
}

/**
 * Resolves with the first attempt that reaches the host. `attempt` gets the milliseconds it may take.
 * @throws what the last attempt threw; anything but an UnreachableError immediately.
 * @throws the signal's reason when the signal was aborted.
 */
export async function keepTrying<T>(
  attempt: (limitMs: number) => Promise<T>,
  { forMs, attemptMs, signal }: Patience,
): Promise<T> {
  const until = performance.now() + forMs;
  let limitMs = attemptMs;
  for (let pauseMs = FIRST_PAUSE; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE)) {
    const begun = performance.now();
    const mostMs = Math.max(1, Math.min(limitMs, until - begun));
    try {
      return await attempt(mostMs);
    } catch (error) {
      const now = performance.now();
      if (!(error instanceof UnreachableError) || now >= until) throw error;
      // A slow network may need more time; a host that drops packets while it boots needs another attempt.
      if (now - begun >= limitMs) limitMs *= 2;
      const wait = Math.min(pauseMs * (0.5 + Math.random()), until - now);
      await sleep(wait, undefined, signal ? { signal } : {}).catch(() => signal?.throwIfAborted());
    }
  }
}

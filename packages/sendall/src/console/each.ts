/** Asks many hosts the same, a limited number at a time. */
import { failureOf } from './failures.js';
import type { Value } from './messages.js';

const WINDOW = 16;

type Silent = Value<'runs'>['silent'][number];

/** Returns the hosts that did not answer, and why. */
export async function askEach<T>(
  all: readonly T[],
  hostOf: (each: T) => string,
  ask: (each: T) => Promise<void>,
): Promise<Silent[]> {
  const silent: Silent[] = [];
  let next = 0;
  const worker = async () => {
    while (next < all.length) {
      const each = all[next++]!;
      try {
        await ask(each);
      } catch (error) {
        silent.push({ host: hostOf(each), ...failureOf(error) });
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(WINDOW, all.length) }, worker));
  return silent;
}

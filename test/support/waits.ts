/**
 * Bounded waits for tests. A bound is what a quiet machine of today needs with a wide margin; on a slow or busy one it
 * grows with the slowness, at most tenfold: a machine at work fails no test, and a hang stays a hang.
 */
import { readFileSync } from 'node:fs';
import { availableParallelism, loadavg } from 'node:os';

/** Largest factor by which a bound grows. */
const MOST = 10;
/** Milliseconds between two measurements of the machine's slowness. */
const LOOK = 100;
/** Milliseconds between two checks of a condition. */
const REST = 5;

// Tests may replace the global timers.
const { setTimeout, clearTimeout } = globalThis;
const now = performance.now.bind(performance);

/** How much slower a processor is than normal, measured by the processor time of a short sum. */
const processor = (() => {
  const before = process.cpuUsage();
  let sum = 1;
  for (let i = 0; i < 4_000_000; i++) sum = (Math.imul(sum, 1_664_525) + 1_013_904_223) | 0;
  const { user, system } = process.cpuUsage(before);
  // It takes 5 ms on the reference machine.
  return Math.max(1, (user + system) / 15_000 + (sum & 0));
})();

/** Tasks that need a processor, now or on average in the last minute: the higher number. */
function tasks() {
  const minute = loadavg()[0] ?? 0;
  try {
    return Math.max(minute, Number(readFileSync('/proc/loadavg', 'latin1').split(' ')[3]?.split('/')[0]));
  } catch {
    return minute; // not on Linux
  }
}

let factor = 1;
let measured = -Infinity;

/** How many times slower than a quiet machine this one is now: 1 to 10. */
export function slowness() {
  if (now() - measured > LOOK) {
    factor = Math.min(MOST, processor * Math.max(1, tasks() / availableParallelism()));
    measured = now();
  }
  return factor;
}

/** A bound for timers of others (a child's `timeout`, the runner's): `ms` times the slowness of now. */
export const patience = (ms: number) => Math.ceil(ms * slowness());

/**
 * The time of one wait. Each piece of it counts by the slowness it was spent at, and a piece in which this process
 * itself did not run counts as one look.
 */
function clock(what: string | (() => string), ms: number) {
  const start = now();
  let last = start;
  let spent = 0;
  return () => {
    const at = now();
    spent += Math.min(at - last, 2 * LOOK) / slowness();
    last = at;
    if (spent < ms && at - start < MOST * ms) return undefined;
    const waited = `waited ${((at - start) / 1000).toFixed(1)} s`;
    return new Error(
      `${waited} for ${typeof what === 'string' ? what : what()} (a bound of ${ms / 1000} s, slowness ${slowness().toFixed(1)})`,
    );
  };
}

/**
 * The promise's outcome, or an error that says what was waited for once the bound is over.
 * @param what named in the error; a function may say how far it got
 * @param ms the bound on a quiet machine
 */
export async function within<T>(
  promise: PromiseLike<T>,
  what: string | (() => string),
  ms: number = 30_000,
): Promise<T> {
  const over = clock(what, ms);
  let timer: ReturnType<typeof setTimeout> | undefined;
  const bound = new Promise((_, reject) => {
    const look = () => {
      const error = over();
      if (error) reject(error);
      else timer = setTimeout(look, Math.min(LOOK, ms));
    };
    timer = setTimeout(look, Math.min(LOOK, ms));
  });
  try {
    return (await Promise.race([promise, bound])) as T;
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Looks again and again until the condition holds, and resolves with what it said. For states that no event tells.
 * @param what named in the error; a function may say how far it got
 * @param ms the bound on a quiet machine
 */
export async function until<T>(
  condition: () => T | PromiseLike<T>,
  what: string | (() => string),
  ms: number = 30_000,
): Promise<Exclude<T, undefined | null | false>> {
  const over = clock(what, ms);
  for (;;) {
    const said = await condition();
    if (said) return said as Exclude<T, undefined | null | false>;
    const error = over();
    if (error) throw error;
    await new Promise((resolve) => setTimeout(resolve, REST));
  }
}

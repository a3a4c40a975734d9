/** Timers of any length: one of Node's own fires at once when it is given more than 24.8 days. */

const LONGEST_TIMER = 0x7fffffff;

/** Calls `act` after `ms` milliseconds. Returns the function that stops it. */
export function after(ms: number, act: () => void): () => void {
  let timer: NodeJS.Timeout;
  const wait = (left: number): void => {
    const part = Math.min(left, LONGEST_TIMER);
    timer = setTimeout(() => (part < left ? wait(left - part) : act()), part);
  };
  wait(ms);
  return () => clearTimeout(timer);
}

/**
 * As `after`, behind the loop's reading: of a process that stood still, the timers come before what arrived in time. `act`
 * looks whether it is still late.
 */
export function afterReading(ms: number, act: () => void): () => void {
  let stop = after(ms, () => {
    const look = setImmediate(act);
    stop = () => clearImmediate(look);
  });
  return () => stop();
}

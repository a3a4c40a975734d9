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

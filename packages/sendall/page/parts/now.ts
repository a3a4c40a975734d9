/** A clock for ages and durations on the page: one tick a second for all views. */
import { useEffect } from 'preact/hooks';
import { Store, useStore } from '../frame/store.js';

const clock = new Store(Date.now());
let users = 0;
let timer: ReturnType<typeof setInterval> | undefined;

/** Milliseconds since the epoch, to the second. */
export function useNow(): number {
  useEffect(() => {
    users += 1;
    clock.value = Date.now();
    timer ??= setInterval(() => (clock.value = Date.now()), 1000);
    return () => {
      users -= 1;
      if (users > 0) return;
      clearInterval(timer);
      timer = undefined;
    };
  }, []);
  return useStore(clock);
}

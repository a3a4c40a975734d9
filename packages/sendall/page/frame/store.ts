/** A value that views watch: they are drawn again when it changes. */
import { useEffect, useReducer } from 'preact/hooks';

export class Store<T> {
  #value: T;
  readonly #watchers = new Set<() => void>();

  constructor(value: T) {
    this.#value = value;
  }

  get value(): T {
    return this.#value;
  }

  set value(value: T) {
    if (Object.is(value, this.#value)) return;
    this.#value = value;
    for (const watcher of this.#watchers) watcher();
  }

  /** Calls back after each change; the answer ends that. */
  watch(watcher: () => void): () => void {
    this.#watchers.add(watcher);
    return () => void this.#watchers.delete(watcher);
  }

  /** Resolves when the value is such a one. */
  async until(test: (value: T) => boolean): Promise<void> {
    if (test(this.#value)) return;
    await new Promise<void>((resolve) => {
      const end = this.watch(() => {
        if (!test(this.#value)) return;
        end();
        resolve();
      });
    });
  }
}

/** The store's value; the component is drawn again when it changes. */
export function useStore<T>(store: Store<T>): T {
  const [, redraw] = useReducer((count: number) => count + 1, 0);
  const { value } = store;
  useEffect(() => {
    // It may have changed between the drawing and this effect.
    if (!Object.is(store.value, value)) redraw(undefined);
    return store.watch(() => redraw(undefined));
  }, [store]);
  return value;
}

/**
 * True in a thread or process that serves for a server elsewhere. A program whose main module also exports its
 * handler starts its server only where this is false: workers load that module too.
 */
export let isWorker = false;

let loading = false;

/** @internal */
export function enterWorker(): void {
  isWorker = true;
}

/** @internal Marks the time in which the user's module is loaded: a server started then would start workers again. */
export async function whileLoading<T>(load: () => Promise<T>): Promise<T> {
  loading = true;
  try {
    return await load();
  } finally {
    loading = false;
  }
}

/** @internal */
export function isLoading(): boolean {
  return loading;
}

/**
 * Keeps the memory of passed output low. Its bytes lie outside V8's heap, and V8 (12.x) looks for dead ones only after
 * some 64 MB; a collection of the young generation takes less than a millisecond and frees them all.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Bytes of output between two collections. */
const EVERY = 4 * 1024 * 1024;

type Collect = (options: { readonly type: 'minor' }) => void;

let collect: Collect | undefined;
let passed = 0;

/** So many bytes of output have been passed on. */
export function passedOn(bytes: number): void {
  passed += bytes;
  if (passed < EVERY) return;
  passed = 0;
  collect ??= collector();
  collect({ type: 'minor' });
}

/** The function that --expose-gc gives. */
function collector(): Collect {
  setFlagsFromString('--expose-gc');
  const found: unknown = runInNewContext('globalThis.gc');
  return typeof found === 'function' ? (found as Collect) : () => undefined;
}

/** Starts the warm-links process, which runs the command `sendall links serve`. */
import { startInBackground } from './background.js';

/** Starting one process is enough, even when we dial many hosts. */
let started = false;

/** Starts it in the background for later commands. If that fails, this command works without it. */
export function startWarmLinks(): void {
  if (started) return;
  started = true;
  try {
    startInBackground(['links', 'serve']).on('error', () => undefined);
  } catch {
    // For example, no descriptor is free.
  }
}

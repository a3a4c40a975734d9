/** Starts the warm-links process; the command `sendall links serve` is what runs in it. */
import { startInBackground } from './background.js';

/** Many hosts are reached at a time, and one such process is enough. */
let started = false;

/** Starts it in the background, for the commands to come. Where there is no room for it, this command does without. */
export function startWarmLinks(): void {
  if (started) return;
  started = true;
  try {
    startInBackground(['links', 'serve']).on('error', () => undefined);
  } catch {
    // No descriptor is free, for example.
  }
}

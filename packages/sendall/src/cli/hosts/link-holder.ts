/** Starts the process that holds warm links; what it does is in commands/links. */
import { startInBackground } from './background.js';

/** Many hosts are reached at a time, and one holder is enough. */
let started = false;

/** Starts it in the background, for the commands to come. Where there is no room for it, this command does without. */
export function startHolder(): void {
  if (started) return;
  started = true;
  try {
    startInBackground(['links', 'serve']).on('error', () => undefined);
  } catch {
    // No descriptor is free, for example.
  }
}

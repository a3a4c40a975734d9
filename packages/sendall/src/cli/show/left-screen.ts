/** Restores our terminal at the end, however it comes, after showing output that a program drew on another terminal. */
import { writeSync } from 'node:fs';
import { ScreenModes } from '../../internal.js';

/** Undoes the watched mode changes when this process ends. */
export function undoneAtTheEnd(): ScreenModes {
  const modes = new ScreenModes();
  let done = false;
  const undo = () => {
    if (!done && modes.undo()) writeSync(1, `${modes.undo()}\r\n`);
    done = true;
  };
  process.once('exit', undo);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    // Unless another listener handles it, the signal then ends us.
    if (!process.listenerCount(signal))
      process.once(signal, () => {
        undo();
        process.kill(process.pid, signal);
      });
  return modes;
}

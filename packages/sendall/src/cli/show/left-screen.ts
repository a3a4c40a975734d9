/** Our terminal as it was, when what a program on another terminal has drawn was shown here, however we end. */
import { writeSync } from 'node:fs';
import { ScreenModes } from '../../internal.js';

/** From now on what is watched is undone when this process ends. */
export function undoneAtTheEnd(): ScreenModes {
  const modes = new ScreenModes();
  let done = false;
  const undo = () => {
    if (!done && modes.undo()) writeSync(1, `${modes.undo()}\r\n`);
    done = true;
  };
  process.once('exit', undo);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    // Unless something else handles it, the signal ends us after that.
    if (!process.listenerCount(signal))
      process.once(signal, () => {
        undo();
        process.kill(process.pid, signal);
      });
  return modes;
}

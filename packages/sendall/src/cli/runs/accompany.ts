/** Follows a run to its end, unless the user leaves early: Ctrl-C, `d`, SIGHUP. */
import type { Run } from '../../index.js';
import type { Arguments } from '../words/command.js';
import { leave } from '../leaving/departure.js';
import { conclude, follow, speaks, viewOf } from '../show/follow.js';
import { watchLeaving, watchSignals } from '../leaving/interrupt.js';
import { say } from '../show/print.js';
import { parseDuration } from '../words/units.js';

/**
 * Our part in the run. A run we started ends with the reader of its output. A run we joined goes on then, but we may
 * cancel it. A watching caller never touches the run, and a signal ends that caller alone.
 */
export type Part = 'own' | 'joined' | 'watching';

/** Resolves to the process's exit code. */
export async function accompany(running: Run, args: Arguments, part: Part = 'own'): Promise<number> {
  const options = { ...viewOf(args), joined: part !== 'own', left: false };
  const watch = part === 'watching' ? watchLeaving() : watchSignals(running, graceOf(args));
  if (part !== 'watching' && speaks(args))
    void running.controlLost.then(() =>
      say('sendall: another caller has taken control: this one only reads from now on'),
    );
  try {
    const ended = follow(running, options);
    const first = await Promise.race([ended, watch.departed]);
    if (typeof first === 'object') return conclude(running, first, options);
    options.left = true;
    return await leave(running, first, ended, args);
  } finally {
    watch.off();
  }
}

/** The value of `--kill-grace`, if given. */
export function graceOf(args: Arguments): number | undefined {
  const text = args.text('kill-grace');
  return text === undefined ? undefined : parseDuration(text, '--kill-grace');
}

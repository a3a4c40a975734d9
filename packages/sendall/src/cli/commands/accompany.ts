/** Shows a run to its end, unless the user leaves it before: Ctrl-C, `d`, SIGHUP. */
import type { Run } from '../../index.js';
import type { Arguments } from '../words/command.js';
import { leave } from '../leaving/departure.js';
import { conclude, follow, speaks, viewOf } from '../show/follow.js';
import { watchLeaving, watchSignals } from '../leaving/interrupt.js';
import { say } from '../show/print.js';
import { parseDuration } from '../words/units.js';

/**
 * Whose run it is: one that we started ends with its reader; one that we joined goes on then, but we may cancel it;
 * a caller that only watches touches nothing, and a signal ends that caller alone.
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

/** What `--kill-grace` says, where there is one. */
export function graceOf(args: Arguments): number | undefined {
  const text = args.text('kill-grace');
  return text === undefined ? undefined : parseDuration(text, '--kill-grace');
}

/** Shows a run to its end, unless the user leaves it before: Ctrl-C, `d`, SIGHUP. */
import type { Run } from '../index.js';
import type { Arguments } from './command.js';
import { EXIT } from './exit-codes.js';
import { conclude, follow, speaks, viewOf } from './follow.js';
import { watchSignals } from './interrupt.js';
import { say } from './print.js';

/**
 * Whose run it is: one that we started ends with its reader; one that we joined goes on then, but we may cancel it;
 * whoever only watches touches nothing, and a signal ends them alone.
 */
export type Part = 'own' | 'joined' | 'watching';

/** Resolves to the process's exit code. */
export async function accompany(running: Run, args: Arguments, part: Part = 'own'): Promise<number> {
  const options = { ...viewOf(args), joined: part !== 'own', left: false };
  if (part === 'watching') return conclude(running, await follow(running, options), options);
  const watch = watchSignals(running);
  if (speaks(args))
    void running.controlLost.then(() =>
      say('sendall: another caller has taken control: this one only reads from now on'),
    );
  try {
    const ended = follow(running, options);
    const first = await Promise.race([ended, watch.departed]);
    if (typeof first === 'object') return conclude(running, first, options);
    options.left = true;
    if (first === 'abandoned') {
      if (!options.quiet && !options.json)
        say(`sendall: left before it was cancelled; see what became of it: sendall attach ${running.runId}`);
      return EXIT.cancelled;
    }
    await running.detach();
    await ended;
    if (speaks(args)) say(`sendall: detached, the command goes on: sendall attach ${running.runId}`);
    return 0;
  } finally {
    watch.off();
  }
}

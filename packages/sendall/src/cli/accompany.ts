/** Shows a run to its end, unless the user leaves it before: Ctrl-C, `d`, SIGHUP. */
import { isatty } from 'node:tty';
import type { Run, StreamName } from '../index.js';
import type { Arguments } from './command.js';
import { EXIT } from './exit-codes.js';
import { conclude, follow } from './follow.js';
import { watchSignals } from './interrupt.js';
import { say } from './print.js';

/** Resolves to the process's exit code. `only`: show this stream alone. */
export async function accompany(running: Run, args: Arguments, only?: StreamName): Promise<number> {
  const watch = watchSignals(running);
  const options = {
    json: args.on('json'),
    quiet: args.on('quiet'),
    encoding: args.text('encoding'),
    only,
    left: false,
  };
  try {
    const ended = follow(running, options);
    const first = await Promise.race([ended, watch.departed]);
    if (typeof first === 'object') return conclude(first, options);
    options.left = true;
    const speak = !options.quiet && !options.json && isatty(2);
    if (first === 'abandoned') {
      if (!options.quiet && !options.json)
        say(`sendall: left before it was cancelled; see what became of it: sendall attach ${running.runId}`);
      return EXIT.cancelled;
    }
    await running.detach();
    await ended;
    if (speak) say(`sendall: detached, the command goes on: sendall attach ${running.runId}`);
    return 0;
  } finally {
    watch.off();
  }
}

/** The options of a command on many hosts. */
import { UsageError } from '../../errors.js';
import type { RolloutOptions, Share } from '../../index.js';
import { under, type Arguments } from './command.js';
import { parseDuration } from './units.js';

export const rolloutOptions = under('Many hosts', {
  only: {
    value: 'failed:RUN',
    help: 'only the hosts that an earlier run left so: failed:RUN, changed:RUN, lost:RUN, … (several add up)',
    complete: 'selection',
  },
  window: { value: 'N', help: 'this many at a time (default 64)' },
  batch: { value: 'N|N%', help: 'in batches, one after another' },
  canary: { value: 'N', help: 'try this many first; start no other host unless all of them are ok (exit 207)' },
  'max-fail': { value: 'N|N%', help: 'start no further host once more than this many have failed (exit 207)' },
  pause: { value: 'TIME', help: 'time between two batches' },
  order: {
    value: 'listed|random',
    help: 'the order in which hosts start (default listed)',
    complete: ['listed', 'random'],
  },
  gather: { help: 'print equal outputs only once; one host of each group sends them' },
  explain: { help: 'print the hosts and the batches, and run nothing' },
  'keep-output': { value: 'SIZE', help: 'bytes of output that the history keeps; of the rest, digests (default 64M)' },
  diff: { help: 'print the output of most hosts, and how the others differ' },
});

/**
 * The options, for a set of this many hosts.
 * @throws UsageError that names the option.
 */
export function rolloutFor(args: Arguments, hosts: number): RolloutOptions {
  const options = rolloutOf(args);
  const { canary = 0 } = options;
  if (canary > hosts)
    throw new UsageError(`--canary: ${canary} is more than the ${hosts} host${hosts === 1 ? '' : 's'} of the set`);
  return options;
}

/** @throws UsageError that names the option. */
function rolloutOf(args: Arguments): RolloutOptions {
  const hosts = (name: string, least: number): number | undefined => {
    const text = args.text(name);
    if (text === undefined) return undefined;
    if (/^\d{1,15}$/.test(text) && Number(text) >= least) return Number(text);
    throw new UsageError(`--${name}: "${text}" is not a number of hosts, ${least} or more`);
  };
  const share = (name: string, least: number): Share | undefined => {
    const text = args.text(name);
    if (text === undefined || !text.endsWith('%')) return hosts(name, least);
    const percent = /^\d{1,3}(?:\.\d{1,9})?%$/.test(text) ? Number.parseFloat(text) : Number.NaN;
    if (percent <= 100 && (percent > 0 || least === 0)) return text as Share;
    throw new UsageError(`--${name}: "${text}" is not a share ${least ? 'above 0% and up to' : 'from 0% to'} 100%`);
  };
  const pause = args.text('pause');
  return {
    window: hosts('window', 1),
    batch: share('batch', 1),
    canary: hosts('canary', 1),
    maxFail: share('max-fail', 0),
    pause: pause === undefined ? undefined : parseDuration(pause, '--pause'),
    // The parser allows only its values.
    order: args.text('order') as RolloutOptions['order'],
  } as RolloutOptions;
}

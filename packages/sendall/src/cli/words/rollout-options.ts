/** The options of a command on many hosts. */
import { UsageError } from '../../errors.js';
import type { RolloutOptions, Share } from '../../index.js';
import { under, type Arguments } from './command.js';

export const rolloutOptions = under('Many hosts', {
  window: { value: 'N', help: 'this many at a time (default 64)' },
  batch: { value: 'N|N%', help: 'in batches, one after another' },
  'max-fail': { value: 'N|N%', help: 'start no further host once more than this many have failed (exit 207)' },
  gather: { help: 'print equal outputs only once; one host of each group sends them' },
  explain: { help: 'print the hosts and the batches, and run nothing' },
  diff: { help: 'print the output of most hosts, and how the others differ' },
});

export function rolloutOf(args: Arguments): RolloutOptions {
  const share = (name: string): Share | undefined => {
    const text = args.text(name);
    if (text === undefined) return undefined;
    if (/^\d+$/.test(text)) return Number(text);
    if (/^\d+(\.\d+)?%$/.test(text)) return text as Share;
    throw new UsageError(`--${name}: "${text}" is neither a number of hosts nor a share such as 25%`);
  };
  const window = args.text('window');
  if (window !== undefined && !/^[1-9]\d*$/.test(window))
    throw new UsageError(`--window: "${window}" is not a number of hosts, 1 or more`);
  return {
    batch: share('batch'),
    maxFail: share('max-fail'),
    window: window === undefined ? undefined : Number(window),
  } as RolloutOptions;
}

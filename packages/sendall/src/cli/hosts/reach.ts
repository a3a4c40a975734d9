/** Hosts as commands reach them: with a suggestion for a mistyped name, and a word to the user when it takes long. */
import { connect, KnownHosts, resolveHome, UsageError, type ConnectOptions, type Host } from '../../index.js';
import type { Arguments, Option } from '../words/command.js';
import { showProgress } from '../show/progress.js';

/** Options of every command that reaches a host. */
export const reachOptions: Readonly<Record<string, Option>> = {
  'no-share': { help: 'make a link of its own instead of using a warm one' },
};

/**
 * For a user at a terminal: a link that says nothing is soon given up for another, and a host that was away is
 * soon found again. The link is one of its own: callers that share a warm one can wait.
 */
export const AT_A_TERMINAL: ConnectOptions = { pingInterval: 4000, pingDeadline: 12_000, longestPause: 1000 };

/**
 * Connects to a target.
 * @throws UsageError for an unknown host, with the name that may have been meant.
 */
export async function reach(target: string, args: Arguments, options = shareOf(args)): Promise<Host> {
  const stop = showProgress(target, args);
  try {
    return await connect(target, options);
  } catch (error) {
    stop();
    if ((error as { code?: string }).code === 'USAGE') await suggest(target);
    throw error;
  }
}

/** Warm links unless the user wants one of their own. */
export function shareOf(args: Arguments): ConnectOptions {
  if (args.on('no-share')) return {};
  const share = async (): Promise<void> => (await import('./warm-links.js')).startWarmLinks();
  // Also when it is not even to be loaded: no descriptor may be free.
  return { share: () => void share().catch(() => undefined) };
}

async function suggest(target: string): Promise<void> {
  if (/[:/]/.test(target) || target === 'local') return;
  const names = new KnownHosts(resolveHome()).list().map(({ name }) => name);
  if (names.includes(target)) return;
  const { closest } = await import('../words/closest.js');
  const near = closest(target, ['local', ...names]);
  if (near) throw new UsageError(`there is no host "${target}": did you mean "${near}"?`);
}

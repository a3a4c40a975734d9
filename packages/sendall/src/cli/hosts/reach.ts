/** Connects commands to hosts: suggests a name for a mistyped one, and tells the user when dialling takes long. */
import { AllHosts, connect, resolveHome, UsageError, type ConnectOptions, type Host } from '../../index.js';
import type { Arguments, Option } from '../words/command.js';
import { aboutHost } from '../words/about-host.js';
import { showProgress } from '../show/progress.js';
import { parseDuration } from '../words/units.js';

/** Options of every command that reaches a host. */
export const reachOptions: Readonly<Record<string, Option>> = {
  'no-share': { help: 'make a new link instead of using a warm one' },
  via: {
    value: 'WAY',
    help: 'nats: through the broker; direct: to the host’s own address (default: as it was paired)',
    complete: ['nats', 'direct'],
  },
  identity: {
    value: 'NAME',
    help: 'call as this identity; see sendall identity (default: SENDALL_IDENTITY, else your own)',
    complete: 'identity',
  },
  'connect-timeout': {
    value: 'TIME',
    help: 'keep trying for this long to reach a host, also while its agent restarts (default: one try of at most 5s)',
  },
};

/**
 * For a user at a terminal: a silent link is soon replaced, and a host that was away is soon found again. The link is
 * not shared, since callers that share a warm one can wait.
 */
export const AT_A_TERMINAL: ConnectOptions = { pingInterval: 4000, pingDeadline: 12_000, longestPause: 1000 };

/**
 * Connects to a target. What the command asks first leaves in one flight with our name, unless it needs the host's own
 * words: then it passes `early: false`.
 * @throws UsageError for an unknown host, suggesting a similar name.
 */
export async function reach(target: string, args: Arguments, options = shareOf(args)): Promise<Host> {
  const stop = showProgress(target, args);
  try {
    const host = await connect(target, { early: true, ...wishesOf(args), ...options });
    // What was asked early fails with the same error.
    if (isName(target)) host.ready.catch((error: unknown) => aboutHost(target, error));
    return host;
  } catch (error) {
    stop();
    if ((error as { code?: string }).code === 'USAGE') await suggest(target);
    // An address is in the message already.
    else if (isName(target)) aboutHost(target, error);
    throw error;
  }
}

/** The way that the user asked for, and how long to try. */
export function wishesOf(args: Arguments): ConnectOptions {
  const via = args.text('via');
  const time = args.text('connect-timeout');
  const identity = args.text('identity');
  return {
    ...(identity === undefined ? {} : { identity }),
    ...(via === undefined ? {} : { via: via as 'nats' | 'direct' }),
    ...(time === undefined ? {} : { retryFor: parseDuration(time, '--connect-timeout') }),
  };
}

/** Warm links, unless the user wants a separate link. */
export function shareOf(args: Arguments): ConnectOptions {
  if (args.on('no-share')) return wishesOf(args);
  const share = async (): Promise<void> => (await import('./warm-links.js')).startWarmLinks();
  // Loading the module may fail too, for example when no descriptor is free.
  return { share: () => void share().catch(() => undefined), ...wishesOf(args) };
}

/** Whether a target is a known host's name rather than an address or this machine. */
const isName = (target: string): boolean => target !== 'local' && !/[:/]/.test(target);

async function suggest(target: string): Promise<void> {
  if (!isName(target)) return;
  const names = AllHosts.of(resolveHome())
    .list()
    .map(({ name }) => name);
  if (names.includes(target)) return;
  const { closest } = await import('../words/closest.js');
  const near = closest(target, ['local', ...names]);
  if (near) throw new UsageError(`there is no host "${target}": did you mean "${near}"?`);
}

/** From a name to a host. The modules that dial and run commands load with the first connection, not before. */
import { resolveHome, type Home } from '../home.js';
import { readDuration, type Duration } from '../text/duration.js';
import type { Link } from '../link/link.js';
import type { Host } from './host.js';
import { checkResolved, inventoryRule, VIAS, type Inventory, type ResolvedHost, type Via } from './inventory.js';
import { AllHosts } from './inventories/all-hosts.js';
import {
  abortSignal,
  callback,
  check,
  checkOptions,
  duration,
  flag,
  name,
  oneOf,
  type Rules,
} from './options/check.js';

/** Milliseconds for dialling and the handshake by default. */
export const DIAL_TIMEOUT = 5000;

/** How to reach a host, and how long to try. */
export interface ConnectOptions {
  /**
   * Folders of this installation.
   * @default from SENDALL_HOME and the XDG variables
   */
  home?: Home;
  /**
   * The inventory that resolves names and addresses on the network, at each dial.
   * @default all hosts of `home`: hosts.json and hosts.d
   */
  inventory?: Inventory;
  /**
   * Milliseconds for dialling and the handshake.
   * @default 5000
   */
  timeout?: Duration;
  /**
   * Milliseconds for which a host that cannot be reached is dialled again, for example over a restart of its agent. A
   * refusal ends it immediately.
   * @default 0
   */
  retryFor?: Duration;
  /**
   * Milliseconds without a link until its runs are given up as lost.
   * @default 600_000
   */
  giveUpAfter?: Duration;
  /**
   * Milliseconds of silence after which the link is pinged. 0: never.
   * @default 15_000
   */
  pingInterval?: Duration;
  /**
   * Milliseconds of silence after which the link counts as lost.
   * @default 45_000
   */
  pingDeadline?: Duration;
  /**
   * The pauses between attempts to restore a lost link grow to about this many milliseconds.
   * @default 10_000
   */
  longestPause?: Duration;
  /**
   * Resolve before the host has let us in. Runs and lists that are begun at once then leave in one flight with our name,
   * which saves a round trip. A refusal is their outcome, and `info` waits for `ready`. It has an effect only if a link of
   * the last day has told what the first flight needs to know.
   * @default false
   */
  early?: boolean;
  /** Aborting ends the dial. It does not keep a link that is lost later from being restored. */
  signal?: AbortSignal;
  /**
   * Use the warm link that another process of this user holds to a tls:// host. Called when no such process runs, to
   * start one for the next time.
   * @default a link of its own
   */
  share?: () => void;
  /**
   * The identity to call as: one that `sendall identity new` made, for hosts on the network only.
   * @default SENDALL_IDENTITY, else this user's own
   */
  identity?: string;
  /**
   * How to reach hosts on the network: through the broker (`nats`), or at their own addresses (`direct`).
   * @default each host's address decides
   */
  via?: Via;
}

/** The allowed values of each option. */
export const CONNECT_RULES: Rules<ConnectOptions> = {
  home: { allowed: 'what resolveHome() returns', fits: isHome },
  inventory: inventoryRule,
  timeout: duration,
  retryFor: duration,
  giveUpAfter: duration,
  pingInterval: duration,
  pingDeadline: duration,
  longestPause: duration,
  early: flag,
  signal: abortSignal,
  share: callback,
  identity: name,
  via: oneOf(...VIAS),
};

function isHome(value: unknown): boolean {
  return typeof value === 'object' && value !== null && typeof (value as Home).agentSocket === 'string';
}

/** The inventory chosen by these options. */
export function inventoryOf({ home, inventory }: ConnectOptions): Inventory {
  return inventory ?? AllHosts.of(home ?? resolveHome());
}

/**
 * Connects to `local`, a paired host's name, `tls://HOST:PORT` or `nats:ID` (its pin must be known), `unix:/path`, or a
 * host that was resolved before. A name is looked up again when a lost link is redialled; a resolved host is dialled as
 * given.
 * @throws UnreachableError when no agent answers there.
 * @throws RefusedError when a key is unknown, has changed, or was not paired.
 * @throws UsageError for a wrong option, a wrong field of a resolved host, an unknown name, or a broken configuration file.
 */
export async function connect(target: string | ResolvedHost, options: ConnectOptions = {}): Promise<Host> {
  const what = 'the host to connect to';
  if (typeof target === 'string') check(what, target, name);
  else checkResolved(what, target);
  checkOptions<ConnectOptions>('connect', options, CONNECT_RULES);
  const home = options.home ?? resolveHome();
  const [{ dialler }, { Session }, { Host }] = await Promise.all([
    import('./dialling.js'),
    import('./session/session.js'),
    import('./host.js'),
  ]);
  const { early = false, signal, share, identity, via } = options;
  const timeoutMs = readDuration(options.timeout) ?? DIAL_TIMEOUT;
  const dialling = { home, inventory: inventoryOf(options), timeoutMs, signal, share, identity, via };
  const dialHost = dialler(target, dialling);
  const dialOwn = share && dialler(target, { ...dialling, share: undefined, signal: undefined, byTls: true });
  const retryFor = readDuration(options.retryFor) ?? 0;
  const begin = async (limitMs: number) => {
    const first = await dialHost(early, { ms: limitMs });
    const session = new Session(first, (stop) => dialHost(true, { stop }), {
      retryFor,
      giveUpAfter: readDuration(options.giveUpAfter) ?? 600_000,
      pingInterval: readDuration(options.pingInterval) ?? 15_000,
      pingDeadline: readDuration(options.pingDeadline) ?? 45_000,
      longestPause: readDuration(options.longestPause) ?? 10_000,
      dialOwn: dialOwn && ((stop) => dialOwn(false, { stop })),
    });
    if (!first.remembered) await letIn(session.ready, first.link, signal);
    return session;
  };
  const patience = { forMs: retryFor, attemptMs: timeoutMs, signal };
  const session = await (retryFor ? (await import('./keep-trying.js')).keepTrying(begin, patience) : begin(timeoutMs));
  const { fromOwnFolder } = target === 'local' ? await import('./own-folder.js') : {};
  return new Host(typeof target === 'string' ? target : target.name, session, fromOwnFolder);
}

/** Waits until the host has let us in. @throws the signal's reason when it is aborted first. */
async function letIn(ready: Promise<void>, link: Link, signal: AbortSignal | undefined): Promise<void> {
  const abort = (): void => link.destroy();
  if (signal?.aborted) abort();
  signal?.addEventListener('abort', abort, { once: true });
  try {
    await ready;
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  } finally {
    signal?.removeEventListener('abort', abort);
  }
}

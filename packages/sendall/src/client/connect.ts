/** From a name to a host: finds its address and pin, dials, and says who is calling. */
import { channel } from 'node:diagnostics_channel';
import { hostname } from 'node:os';
import { RefusedError, UsageError } from '../errors.js';
import { resolveHome, type Home } from '../home.js';
import { dial } from '../link/dial.js';
import { readDuration, type Duration } from '../link/duration.js';
import { greet } from '../link/handshake.js';
import { dialRelay } from '../link/relay-client.js';
import { abortSignal, callback, check, checkOptions, duration, name, type Rules } from './check.js';
import { Host } from './host.js';
import { KnownHosts } from './known-hosts.js';
import { fromOwnFolder } from './own-folder.js';
import { Session, type Dialled } from './session.js';

export interface ConnectOptions {
  /** Folders of this installation. Default: from SENDALL_HOME and the XDG variables. */
  home?: Home;
  /** Milliseconds for dialling and the handshake. Default 5000. */
  timeout?: Duration;
  /** Milliseconds without a link until its runs are given up as lost. Default 600000. */
  giveUpAfter?: Duration;
  /** Milliseconds of silence after which a sign of life is asked for. Default 15000; 0: never. */
  pingInterval?: Duration;
  /** Milliseconds of silence after which the link counts as lost. Default 45000. */
  pingDeadline?: Duration;
  /** The pauses between tries to make a lost link again grow to about this many milliseconds. Default 10000. */
  longestPause?: Duration;
  signal?: AbortSignal;
  /**
   * Use the warm link that another process of this user holds to a tls:// host. Called when no such process runs, to
   * start one for the next time. Default: a link of its own.
   */
  share?: () => void;
}

/** What the channel `sendall:dial` tells of each try to make a host's link, the first one and those after a loss. */
export type DialEvent =
  | { readonly host: string; readonly state: 'dialling' | 'linked' }
  | { readonly host: string; readonly state: 'failed'; readonly reason: string };

const dialEvents = channel('sendall:dial');

/** What each option may be. */
export const CONNECT_RULES: Rules<ConnectOptions> = {
  home: { allowed: 'what resolveHome() returns', fits: isHome },
  timeout: duration,
  giveUpAfter: duration,
  pingInterval: duration,
  pingDeadline: duration,
  longestPause: duration,
  signal: abortSignal,
  share: callback,
};

function isHome(value: unknown): boolean {
  return typeof value === 'object' && value !== null && typeof (value as Home).agentSocket === 'string';
}

/**
 * Connects to `local`, a paired host's name, `tls://HOST:PORT` (its pin must be known) or `unix:/path`.
 * Throws UnreachableError, RefusedError (unknown, changed or unpaired key) or UsageError.
 */
export async function connect(target: string, options: ConnectOptions = {}): Promise<Host> {
  check('the host to connect to', target ?? null, name);
  checkOptions<ConnectOptions>('connect', options, CONNECT_RULES);
  const home = options.home ?? resolveHome();
  const dialHost = dialler(target, home, options);
  const session = new Session(await dialHost(), dialHost, {
    giveUpAfter: readDuration(options.giveUpAfter) ?? 600_000,
    pingInterval: readDuration(options.pingInterval) ?? 15_000,
    pingDeadline: readDuration(options.pingDeadline) ?? 45_000,
    longestPause: readDuration(options.longestPause) ?? 10_000,
  });
  return new Host(target, session, target === 'local' ? fromOwnFolder : undefined);
}

function dialler(target: string, home: Home, options: ConnectOptions): () => Promise<Dialled> {
  return async () => {
    dialEvents.publish({ host: target, state: 'dialling' } satisfies DialEvent);
    try {
      const dialled = await dialOnce(target, home, options);
      dialEvents.publish({ host: target, state: 'linked' } satisfies DialEvent);
      return dialled;
    } catch (error) {
      dialEvents.publish({ host: target, state: 'failed', reason: (error as Error).message } satisfies DialEvent);
      throw error;
    }
  };
}

async function dialOnce(target: string, home: Home, options: ConnectOptions): Promise<Dialled> {
  const { signal, share } = options;
  const timeoutMs = readDuration(options.timeout) ?? 5000;
  // Looked up at each dial: a host that was paired again meanwhile has a new pin.
  const { url, pin } = await lookUp(target, home);
  const warm = share && pin !== undefined ? await dialRelay(home, { url, pin }, timeoutMs) : undefined;
  if (warm) return warm;
  if (pin !== undefined) share?.();
  const link = await dial(url, {
    pin,
    identity: async () => await (await import('../link/identity.js')).loadIdentity(home, { create: true }),
    timeoutMs,
    signal,
  });
  const method = url.startsWith('unix:') ? 'local' : 'pin';
  return { link, greeting: await greet(link, { method, name: hostname(), timeoutMs }) };
}

/** By file: whoever dials a thousand hosts reads the list once. */
const lists = new Map<string, KnownHosts>();

function hostsOf(home: Home): KnownHosts {
  let list = lists.get(home.hostsFile);
  if (!list) lists.set(home.hostsFile, (list = new KnownHosts(home)));
  return list;
}

async function lookUp(target: string, home: Home): Promise<{ url: string; pin: string | undefined }> {
  if (target === 'local') return { url: `unix:${home.agentSocket}`, pin: undefined };
  if (target.startsWith('unix:')) return { url: target, pin: undefined };
  const known = hostsOf(home);
  if (target.startsWith('tls://')) {
    const entry = known.at(target);
    if (!entry)
      throw new RefusedError(
        `the key of ${target} is not known here: pair with it (sendall pair ${target} --code … --name …)`,
      );
    return { url: entry.url, pin: entry.pin };
  }
  const entry = known.get(target);
  if (!entry)
    throw new UsageError(
      `there is no host "${target}": see "sendall hosts", or pair with it (sendall pair tls://HOST:PORT --code … --name ${target})`,
    );
  return { url: entry.url, pin: entry.pin };
}

/** Dials a host: finds its address and pin, makes a link, and says who is calling. */
import { channel } from 'node:diagnostics_channel';
import { hostname } from 'node:os';
import { RefusedError, UsageError } from '../errors.js';
import type { Home } from '../home.js';
import { dial } from '../link/dial.js';
import { greet } from '../link/handshake.js';
import { KnownHosts } from './known-hosts.js';
import type { Dialled } from './session/session.js';

/** An event of the channel `sendall:dial`, which reports each attempt to link to a host, first or repeated. */
export type DialEvent =
  | { readonly host: string; readonly state: 'dialling' | 'linked' }
  | { readonly host: string; readonly state: 'failed'; readonly reason: string };

/** How a host is dialled; see ConnectOptions. */
export interface Dialling {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  readonly share?: (() => void) | undefined;
}

const dialEvents = channel('sendall:dial');

/** Makes the function that dials a host, the first time and after each loss. */
export function dialler(target: string, home: Home, options: Dialling): () => Promise<Dialled> {
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

async function dialOnce(target: string, home: Home, options: Dialling): Promise<Dialled> {
  const { timeoutMs, signal, share } = options;
  // Looked up at each dial: the host may have been paired again and have a new pin.
  const { url, pin } = await lookUp(target, home);
  if (share && pin !== undefined) {
    const { dialWarm } = await import('../link/warm/client.js');
    const warm = await dialWarm(home, { url, pin }, timeoutMs);
    if (warm) return warm;
  }
  if (pin !== undefined) share?.();
  const link = await dial(url, {
    pin,
    identity: async () => await (await import('../keys/identity.js')).loadIdentity(home, { create: true }),
    timeoutMs,
    signal,
  });
  const method = url.startsWith('unix:') ? 'local' : 'pin';
  return { link, greeting: await greet(link, { method, name: hostname(), timeoutMs }) };
}

/** By file, so that a program that dials a thousand hosts reads the list once. */
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

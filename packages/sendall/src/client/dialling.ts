/** Dials a host: finds its address and pin, makes a link, and says who is calling. */
import { channel } from 'node:diagnostics_channel';
import { hostname } from 'node:os';
import { RefusedError, UsageError } from '../errors.js';
import type { Home } from '../home.js';
import { dial } from '../link/dial.js';
import { greet } from '../link/handshake.js';
import { checkResolved, type Inventory, type ResolvedHost } from './inventory.js';
import type { Dialled } from './session/session.js';

/** An event of the channel `sendall:dial`, which reports each attempt to link to a host, first or repeated. */
export type DialEvent =
  | { readonly host: string; readonly state: 'dialling' | 'linked' }
  | { readonly host: string; readonly state: 'failed'; readonly reason: string };

/** How a host is dialled; see ConnectOptions. */
export interface Dialling {
  readonly home: Home;
  readonly inventory: Inventory;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  readonly share?: (() => void) | undefined;
}

const dialEvents = channel('sendall:dial');

/** Makes the function that dials a host, the first time and after each loss. */
export function dialler(target: string | ResolvedHost, options: Dialling): () => Promise<Dialled> {
  const host = typeof target === 'string' ? target : target.name;
  return async () => {
    dialEvents.publish({ host, state: 'dialling' } satisfies DialEvent);
    try {
      const dialled = await dialOnce(target, options);
      dialEvents.publish({ host, state: 'linked' } satisfies DialEvent);
      return dialled;
    } catch (error) {
      dialEvents.publish({ host, state: 'failed', reason: (error as Error).message } satisfies DialEvent);
      throw error;
    }
  };
}

async function dialOnce(target: string | ResolvedHost, options: Dialling): Promise<Dialled> {
  const { home, inventory, timeoutMs, signal, share } = options;
  // A name is looked up at each dial: the host may have been paired again and have a new pin.
  const { url, pin } = typeof target === 'string' ? lookUp(target, home, inventory) : target;
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

/** The current address and key for a name or an address. */
function lookUp(target: string, home: Home, inventory: Inventory): ResolvedHost {
  if (target === 'local') return { name: target, url: `unix:${home.agentSocket}` };
  if (target.startsWith('unix:')) return { name: target, url: target };
  const isAddress = target.startsWith('tls://');
  const host = isAddress ? inventory.at(target) : inventory.get(target);
  if (host) {
    if (host.pin === undefined && host.url.startsWith('tls://')) throw notPaired(host);
    checkResolved(`the host "${target}"`, host);
    return host;
  }
  if (isAddress)
    throw new RefusedError(
      `the key of ${target} is not known here: pair with it (sendall pair ${target} --code … --name …)`,
    );
  throw new UsageError(
    `there is no host "${target}": see "sendall hosts", or pair with it (sendall pair tls://HOST:PORT --code … --name ${target})`,
  );
}

/** An inventory may name hosts before they are paired. */
function notPaired({ name, url }: ResolvedHost): RefusedError {
  return new RefusedError(
    `${name} is not paired: "sendall pair --new" there shows a code, then sendall pair ${url} --code … --name ${name}`,
  );
}

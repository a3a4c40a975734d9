/** Dials a host: finds its address and pin, makes a link, says who is calling, and remembers who answered. */
import { channel } from 'node:diagnostics_channel';
import { hostname } from 'node:os';
import { RefusedError, UnreachableError, UsageError } from '../errors.js';
import type { Home } from '../home.js';
import { dial } from '../link/dial.js';
import { greet, type Greeting } from '../link/handshake.js';
import { readEngine } from '../keys/engine.js';
import { isNatsHost } from '../text/nats-address.js';
import { HostMemory } from './host-memory.js';
import { HostLog, KeptHeads } from './kept-heads.js';
import { checkResolved, hostVia, type Inventory, type ResolvedHost, type Via } from './inventory.js';
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
  readonly identity?: string | undefined;
  readonly via?: Via | undefined;
  /** Only by TLS to the host itself: a further link through a broker would cost more than it saves. */
  readonly byTls?: boolean;
}

const dialEvents = channel('sendall:dial');

/**
 * Makes the function that dials a host, the first time and after each loss. `early`: a first flight is wanted, so it looks
 * up what an earlier link has left to remember. `ms`: another limit than the usual one, for dialling and again for the
 * handshake. `stop`: ends the dial.
 */
export function dialler(
  target: string | ResolvedHost,
  options: Dialling,
): (early: boolean, limits?: { readonly ms?: number; readonly stop?: AbortSignal }) => Promise<Dialled> {
  const host = typeof target === 'string' ? target : target.name;
  let again = false;
  const failed = (error: unknown): never => {
    dialEvents.publish({ host, state: 'failed', reason: (error as Error).message } satisfies DialEvent);
    throw error;
  };
  return async (early, { ms: timeoutMs = options.timeoutMs, stop } = {}) => {
    dialEvents.publish({ host, state: 'dialling' } satisfies DialEvent);
    // It ends the connecting. What is dialled later replaces a link that was lost.
    const abort = again ? undefined : options.signal;
    const signal = abort && stop ? AbortSignal.any([abort, stop]) : (stop ?? abort);
    const dialling = dialOnce(target, { ...options, timeoutMs, signal }, early, again);
    const { greeting, ...dialled } = await dialling.catch(failed);
    const greeted = greeting.then((greeted) => {
      again = true;
      dialEvents.publish({ host, state: 'linked' } satisfies DialEvent);
      return greeted;
    }, failed);
    return { ...dialled, greeting: greeted };
  };
}

/** `again`: a link was lost, and runs wait for the next one. */
async function dialOnce(
  target: string | ResolvedHost,
  options: Dialling,
  early: boolean,
  again: boolean,
): Promise<Dialled> {
  const { home, inventory, timeoutMs, signal, share, via } = options;
  // A name is looked up at each dial: the host may have been paired again and have a new pin.
  const host = typeof target === 'string' ? target : target.name;
  const { url, pin } = hostVia(typeof target === 'string' ? lookUp(target, home, inventory) : target, via);
  if (options.byTls && !url.startsWith('tls:')) throw new UnreachableError(`${url} is not reached by TLS alone`);
  const name = pin === undefined ? undefined : calledAs(options.identity);
  if (pin === undefined && options.identity !== undefined)
    throw new UsageError(
      `the identity "${options.identity}" is for hosts on the network: over a Unix socket every caller is the agent's own user`,
    );
  // Before another process is asked.
  if (name !== undefined) (await import('../keys/identity.js')).checkIdentity(home, name);
  const memory = HostMemory.of(home);
  const key = pin ?? url;
  const log = new HostLog(KeptHeads.of(home), key, host);
  const recall = () => (early ? memory.get(key) : undefined);
  const noted = (greeting: Greeting) => {
    memory.note(key, greeting);
    return greeting;
  };
  if (share && pin !== undefined) {
    const { dialWarm } = await import('../link/warm/client.js');
    const warm = await dialWarm(home, { url, pin, identity: name }, { timeoutMs, signal, recall });
    if (warm) return { ...warm, log, greeting: warm.isFresh ? warm.greeting.then(noted) : warm.greeting };
  }
  if (pin !== undefined) share?.();
  const link = await dial(url, {
    pin,
    identity: async () => await (await import('../keys/identity.js')).loadIdentity(home, { name, create: true }),
    engine: () => readEngine(home),
    urgent: again,
    timeoutMs,
    signal,
  });
  const method = url.startsWith('unix:') ? 'local' : 'pin';
  const greeting = greet(link, { method, name: hostname(), timeoutMs }).then(noted);
  return { link, log, remembered: recall(), greeting };
}

/** The name of the identity to call as; undefined: this user's own. */
function calledAs(identity: string | undefined): string | undefined {
  const name = identity || process.env.SENDALL_IDENTITY;
  return name === 'default' ? undefined : name || undefined;
}

/** The current address and key for a name or an address. */
function lookUp(target: string, home: Home, inventory: Inventory): ResolvedHost {
  if (target === 'local') return { name: target, url: `unix:${home.agentSocket}` };
  if (target.startsWith('unix:')) return { name: target, url: target };
  const isAddress = target.startsWith('tls://') || isNatsHost(target);
  const host = isAddress ? inventory.at(target) : inventory.get(target);
  if (host) {
    if (host.pin === undefined && !host.url.startsWith('unix:')) throw notPaired(host);
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

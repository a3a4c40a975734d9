/** From a name to a host: finds its address and pin, dials, and says who is calling. */
import { hostname } from 'node:os';
import { RefusedError, UsageError } from '../errors.js';
import { resolveHome, type Home } from '../home.js';
import { dial } from '../link/dial.js';
import { greet } from '../link/handshake.js';
import { Link } from '../link/link.js';
import { Host } from './host.js';
import { KnownHosts } from './known-hosts.js';
import { Session, type Dialled } from './session.js';

export interface ConnectOptions {
  /** Folders of this installation. Default: from SENDALL_HOME and the XDG variables. */
  home?: Home;
  /** Milliseconds for dialling and the handshake. Default 5000. */
  timeout?: number;
  /** Milliseconds without a link until its runs are given up as lost. Default 600000. */
  giveUpAfter?: number;
  /** Milliseconds of silence after which a sign of life is asked for. Default 15000; 0: never. */
  pingInterval?: number;
  /** Milliseconds of silence after which the link counts as lost. Default 45000. */
  pingDeadline?: number;
  signal?: AbortSignal;
}

const OPTION_NAMES = new Set(['home', 'timeout', 'giveUpAfter', 'pingInterval', 'pingDeadline', 'signal']);

/**
 * Connects to `local`, a paired host's name, `tls://HOST:PORT` (its pin must be known) or `unix:/path`.
 * Throws UnreachableError, RefusedError (unknown, changed or unpaired key) or UsageError.
 */
export async function connect(target: string, options: ConnectOptions = {}): Promise<Host> {
  for (const name of Object.keys(options))
    if (!OPTION_NAMES.has(name)) throw new UsageError(`there is no connect option "${name}"`);
  const home = options.home ?? resolveHome();
  const dialHost = dialler(target, home, options);
  const session = new Session(await dialHost(), dialHost, {
    giveUpAfter: options.giveUpAfter ?? 600_000,
    pingInterval: options.pingInterval ?? 15_000,
    pingDeadline: options.pingDeadline ?? 45_000,
  });
  return new Host(target, session, target === 'local' ? { cwd: process.cwd() } : {});
}

function dialler(target: string, home: Home, options: ConnectOptions): () => Promise<Dialled> {
  const timeoutMs = options.timeout ?? 5000;
  return async () => {
    // Looked up at each dial: a host that was paired again meanwhile has a new pin.
    const { url, pin } = await lookUp(target, home);
    const stream = await dial(url, {
      pin,
      identity: async () => await (await import('../link/identity.js')).loadIdentity(home, { create: true }),
      timeoutMs,
      signal: options.signal,
    });
    const link = new Link(stream);
    const greeting = await greet(link, {
      method: url.startsWith('unix:') ? 'local' : 'pin',
      name: hostname(),
      timeoutMs,
    });
    return { link, greeting };
  };
}

async function lookUp(target: string, home: Home): Promise<{ url: string; pin: string | undefined }> {
  if (target === 'local') return { url: `unix:${home.agentSocket}`, pin: undefined };
  if (target.startsWith('unix:')) return { url: target, pin: undefined };
  const known = new KnownHosts(home);
  if (target.startsWith('tls://')) {
    const entry = known.list().find((each) => each.url === target);
    if (!entry)
      throw new RefusedError(
        `the key of ${target} is not known here: pair with it (sendall pair ${target} --code … --name …)`,
      );
    return { url: target, pin: entry.pin };
  }
  const entry = known.get(target);
  if (!entry)
    throw new UsageError(
      `there is no host "${target}": see "sendall hosts", or pair with it (sendall pair tls://HOST:PORT --code … --name ${target})`,
    );
  return { url: entry.url, pin: entry.pin };
}

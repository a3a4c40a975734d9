/**
 * The warm-links process: one process for each user holds links to hosts, so that a command pays no handshake. Callers
 * connect over a private Unix socket and talk to it as to an agent; it forwards their messages, and many callers share
 * one link. It keeps no state: when it is killed, callers dial again and their runs continue at the next byte.
 */
import { statSync } from 'node:fs';
import { dirname } from 'node:path';
import { readInto, serve, type Connection } from '@sendall/socketserver';
import { UsageError } from '../../errors.js';
import { ensurePrivateFolder, type Home } from '../../home.js';
import { readEngine } from '../../keys/engine.js';
import { identityFileOf, loadIdentity } from '../../keys/identity.js';
import { VERSION } from '../../protocol/version.js';
import { durationOption, type Duration } from '../../text/duration.js';
import { dial } from '../dial.js';
import { greet, SHARED } from '../handshake.js';
import { Link } from '../link.js';
import { WarmLinksCaller, type WarmLinksProcess } from './caller.js';
import type { Wanted, WarmLinksStatus } from './client.js';
import { WarmLink } from './warm-link.js';

export interface WarmLinksOptions {
  /**
   * Milliseconds without callers after which it ends.
   * @default 300_000
   */
  idleExit?: Duration;
  /**
   * Milliseconds for dialling a host.
   * @default 5000
   */
  timeout?: Duration;
}

const OPTION_NAMES: Record<keyof WarmLinksOptions, true> = { idleExit: true, timeout: true };

/**
 * Starts holding links for the user of `home`.
 * @throws UsageError when another process already does.
 */
export async function openWarmLinks(home: Home, options: WarmLinksOptions = {}): Promise<WarmLinks> {
  for (const name of Object.keys(options))
    if (!(name in OPTION_NAMES)) throw new UsageError(`there is no option "${name}" of warm links`);
  const held = new WarmLinks(home, options);
  await held.open();
  return held;
}

export class WarmLinks implements WarmLinksProcess {
  /** Resolves when it has ended, on request or because it was idle. */
  readonly stopped: Promise<void>;
  readonly #home: Home;
  readonly #idleExit: number;
  readonly #timeout: number;
  readonly #links = new Map<string, Promise<WarmLink>>();
  readonly #callers = new Set<WarmLinksCaller>();
  #server: Awaited<ReturnType<typeof serve>> | undefined;
  #idle: NodeJS.Timeout | undefined;
  #closing = false;
  #stopped!: () => void;

  /** @internal Use openWarmLinks. */
  constructor(home: Home, { idleExit, timeout }: WarmLinksOptions) {
    this.#home = home;
    this.#idleExit = durationOption('idleExit', idleExit) ?? 300_000;
    this.#timeout = durationOption('timeout', timeout) ?? 5000;
    this.stopped = new Promise((resolve) => (this.#stopped = resolve));
  }

  /** @internal */
  async open(): Promise<void> {
    ensurePrivateFolder(dirname(this.#home.linksSocket));
    const path = this.#home.linksSocket;
    const accept = async (connection: Connection): Promise<void> => await this.#accept(connection);
    try {
      this.#server = await serve({ path, mode: 0o600, stale: 'replace' }, accept, {
        readTimeout: 0,
        writeTimeout: 0,
        drainTimeout: 1000,
      });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
      throw new UsageError(`another process holds warm links on ${path}`, { cause: error });
    }
    this.#rest();
  }

  /** Closes every link. Callers dial again by themselves. */
  async close(): Promise<void> {
    this.#closing = true;
    clearTimeout(this.#idle);
    for (const link of this.#links.values()) void link.then((each) => each.link.close()).catch(() => undefined);
    for (const caller of this.#callers) caller.link.close();
    await this.#server?.shutdown({ timeout: 1000 });
    this.#stopped();
  }

  async status(): Promise<WarmLinksStatus> {
    const settled = await Promise.allSettled(this.#links.values());
    const links = settled.flatMap((each) => (each.status === 'fulfilled' ? [each.value.status] : []));
    return { pid: process.pid, version: VERSION, links };
  }

  async closeLinksTo(url: unknown): Promise<number> {
    let closed = 0;
    for (const [key, linking] of this.#links) {
      const warm = await linking.catch(() => undefined);
      if (!warm || warm.status.url !== url) continue;
      this.#drop(key, linking);
      warm.link.close();
      closed++;
    }
    return closed;
  }

  async linkTo(wanted: Wanted): Promise<WarmLink> {
    const own = statSync(identityFileOf(this.#home, wanted.identity), { throwIfNoEntry: false })?.ino ?? 0;
    const key = `${wanted.url} ${wanted.pin} ${own} ${wanted.identity ?? ''}`;
    const known = this.#links.get(key);
    if (known) return await known;
    const fresh: Promise<WarmLink> = this.#dial(wanted, () => this.#drop(key, fresh));
    this.#links.set(key, fresh);
    try {
      return await fresh;
    } catch (error) {
      this.#drop(key, fresh);
      throw error;
    }
  }

  /** The link is gone. Another one may have its place by now. */
  #drop(key: string, linking: Promise<WarmLink>): void {
    if (this.#links.get(key) === linking) this.#links.delete(key);
  }

  async #dial({ url, pin, identity: name }: Wanted, gone: () => void): Promise<WarmLink> {
    const identity = async () => await loadIdentity(this.#home, { name, create: true });
    const engine = () => readEngine(this.#home);
    const link = await dial(url, { pin, identity, engine, timeoutMs: this.#timeout });
    const timeoutMs = this.#timeout;
    const greeting = greet(link, { method: 'pin', name: 'links', timeoutMs, features: [SHARED] });
    return new WarmLink(url, link, greeting, gone);
  }

  async #accept(connection: Connection): Promise<void> {
    // Our links are ending: a caller that comes now does without us.
    if (this.#closing) return;
    clearTimeout(this.#idle);
    const caller = new WarmLinksCaller(new Link(connection.socket, readInto), this);
    this.#callers.add(caller);
    await caller.closed;
    this.#callers.delete(caller);
    if (!this.#callers.size && !this.#closing) this.#rest();
  }

  #rest(): void {
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => void this.close(), this.#idleExit);
  }
}

/** Links to hosts, shared by everything that pages ask, and kept for a moment after their last use. */
import { SendallError, UnreachableError } from '../errors.js';
import { connect, type ConnectOptions, type Host } from '../index.js';
import { inTime } from './in-time.js';

interface LinksLimits {
  readonly links: number;
  readonly idleLink: number;
  readonly answerTimeout: number;
}

interface Held {
  readonly host: Promise<Host>;
  users: number;
  idle: NodeJS.Timeout | undefined;
}

/** A host in use, until it is disposed. */
export interface Lease extends Disposable {
  readonly host: Host;
}

/** For a user who looks at it: a silent link is soon replaced, and a host that was away is soon found again. */
const PATIENCE: ConnectOptions = { pingInterval: 4000, pingDeadline: 12_000, longestPause: 1000 };

export class Links {
  readonly #options: ConnectOptions;
  readonly #limits: LinksLimits;
  readonly #held = new Map<string, Held>();
  #closed = false;

  constructor(options: ConnectOptions, limits: LinksLimits) {
    this.#options = { ...PATIENCE, ...options };
    this.#limits = limits;
  }

  /** A link to this host: the one that is there, or a new one. @throws what `connect` throws. */
  async use(name: string): Promise<Lease> {
    if (this.#closed) throw new SendallError('CLOSED', 'the console ends');
    const held = this.#held.get(name) ?? this.#dial(name);
    held.users += 1;
    clearTimeout(held.idle);
    try {
      const host = await held.host;
      let used = true;
      return {
        host,
        [Symbol.dispose]: () => {
          if (used) this.#leave(name, held);
          used = false;
        },
      };
    } catch (error) {
      if (this.#held.get(name) === held) this.#held.delete(name);
      throw error;
    }
  }

  /**
   * Asks a host something that it answers at once.
   * @throws UnreachableError when the answer does not come in time; the link is not used again.
   */
  async ask<T>(name: string, question: (host: Host) => Promise<T>): Promise<T> {
    using lease = await this.use(name);
    const ms = this.#limits.answerTimeout;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(
        () => reject(new UnreachableError(`${name} has not answered for ${ms / 1000} seconds`)),
        ms,
      ).unref();
    });
    try {
      return await Promise.race([question(lease.host), late]);
    } catch (error) {
      if ((error as { code?: unknown }).code === 'UNREACHABLE') this.#drop(name);
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    const all = [...this.#held.values()];
    this.#held.clear();
    for (const { idle } of all) clearTimeout(idle);
    await inTime(Promise.allSettled(all.map(async ({ host }) => await (await host).close())));
  }

  #dial(name: string): Held {
    if (this.#held.size >= this.#limits.links) this.#closeUnused();
    if (this.#held.size >= this.#limits.links)
      throw new SendallError('LIMIT', `${this.#limits.links} links to hosts are in use already (links)`);
    const held: Held = { host: connect(name, this.#options), users: 0, idle: undefined };
    // Its users hear of the failure.
    held.host.catch(() => undefined);
    this.#held.set(name, held);
    return held;
  }

  #leave(name: string, held: Held): void {
    held.users -= 1;
    if (held.users) return;
    const isCurrent = this.#held.get(name) === held;
    const end = (): void => {
      if (this.#held.get(name) === held) this.#held.delete(name);
      void held.host.then(async (host) => await host.close()).catch(() => undefined);
    };
    if (isCurrent && !this.#closed) held.idle = setTimeout(end, this.#limits.idleLink).unref();
    else end();
  }

  /** Its users keep it; the next one gets another. */
  #drop(name: string): void {
    const held = this.#held.get(name);
    if (!held) return;
    this.#held.delete(name);
    clearTimeout(held.idle);
    if (!held.users) void held.host.then(async (host) => await host.close()).catch(() => undefined);
  }

  #closeUnused(): void {
    for (const [name, { users }] of this.#held) if (!users) this.#drop(name);
  }
}

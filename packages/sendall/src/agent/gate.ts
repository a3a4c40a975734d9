/**
 * The agent's side of the keeper: one link for all sessions, made again when it goes. Each attachment of a caller has an
 * alias of its own here.
 */
import { ensureKeeper, type KeeperLink, type KeeperOptions } from '../keeper/door.js';
import { SendallError } from '../errors.js';
import type { Home } from '../home.js';
import type { Control, Message } from '../protocol/messages.js';

/** Who hears what the keeper says of one attachment. */
export interface Listener {
  fromKeeper(message: Message): void;
  keeperLost(reason: string): void;
}

export class KeeperGate {
  readonly #home: Home;
  readonly #options: KeeperOptions;
  #link: KeeperLink | undefined;
  #connecting: Promise<KeeperLink> | undefined;
  #listeners = new Map<number, Listener>();
  #answers = new Map<number, { resolve: (message: Control) => void; reject: (error: Error) => void }>();
  #nextAlias = 1;
  #nextOp = 1;
  #closed = false;

  constructor(home: Home, options: KeeperOptions = {}) {
    this.#home = home;
    this.#options = options;
  }

  get pid(): number | undefined {
    return this.#link?.pid;
  }

  /** The link to the keeper; starts one when there is none. */
  open(): Promise<KeeperLink> | KeeperLink {
    if (this.#link) return this.#link;
    if (this.#closed) throw new SendallError('CLOSED', 'the agent is stopping');
    this.#connecting ??= ensureKeeper(this.#home, { ...this.#options, onMessage: (message) => this.#message(message) })
      .then((link) => {
        this.#link = link;
        void link.closed.then(() => this.#lost(link));
        return link;
      })
      .finally(() => (this.#connecting = undefined));
    return this.#connecting;
  }

  /** An alias of the keeper's link that leads to `listener`. */
  enter(listener: Listener): number {
    const alias = this.#nextAlias++;
    this.#listeners.set(alias, listener);
    return alias;
  }

  leave(alias: number): void {
    if (!this.#listeners.delete(alias)) return;
    this.#link?.send({ type: 'DETACH', alias });
  }

  /** Forgets the alias without a word to the keeper, which has refused it. */
  drop(alias: number): void {
    this.#listeners.delete(alias);
  }

  send(message: Control): void {
    this.#link?.send(message);
  }

  sendData(alias: number, offset: number, bytes: Uint8Array): void {
    this.#link?.sendData(alias, 0, 0, offset, bytes);
  }

  /** Asks the keeper something that has an opId; `make` gets the number to use. */
  async ask(make: (opId: number) => Control): Promise<Control> {
    const link = await this.open();
    const opId = this.#nextOp++;
    return await new Promise((resolve, reject) => {
      this.#answers.set(opId, { resolve, reject });
      link.send(make(opId));
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#connecting?.catch(() => undefined);
    this.#link?.close();
  }

  #message(message: Message): void {
    if (message.alias) this.#listeners.get(message.alias)?.fromKeeper(message);
    else if ('opId' in message) {
      this.#answers.get(message.opId)?.resolve(message);
      this.#answers.delete(message.opId);
    }
  }

  #lost(link: KeeperLink): void {
    if (link !== this.#link) return;
    this.#link = undefined;
    const reason = 'the keeper process on the host died; the command may still be running there';
    const listeners = [...this.#listeners.values()];
    this.#listeners.clear();
    for (const listener of listeners) listener.keeperLost(reason);
    for (const answer of this.#answers.values()) answer.reject(new SendallError('LOST', reason));
    this.#answers.clear();
  }
}

/** Who may use the console: the token of this start, one-time codes, and addresses for watching one run. */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { SendallError } from '../errors.js';
import { keyName } from './messages.js';

/** A run on a host. */
export interface Place {
  readonly host: string;
  readonly runId: string;
}

/** What a page may do. */
export interface Grant {
  /** For a page that came with a code: the token for its next sockets. */
  readonly token?: string;
  /** It may only watch this run. */
  readonly only?: Place;
  /** Aborts when the address for watching is withdrawn. */
  readonly withdrawn?: AbortSignal;
}

/** What a page must have. */
export interface Key {
  readonly secret: string;
  readonly name: Promise<string>;
  readonly grant: Grant;
  /** For a one-time code: when it ends. */
  readonly until?: number;
}

interface AccessLimits {
  readonly watchLinks: number;
  readonly codeTime: number;
}

export class Access {
  /** 192 random bits: acts as the user who started the console. */
  readonly token: string;
  readonly #limits: AccessLimits;
  readonly #keys = new Set<Key>();
  readonly #watching = new Map<Key, AbortController>();

  constructor(limits: AccessLimits) {
    this.#limits = limits;
    this.token = this.#newKey({}).secret;
  }

  /** A code for one page, which must come soon. */
  newCode(): string {
    return this.#newKey({ token: this.token }, Date.now() + this.#limits.codeTime).secret;
  }

  /** A token with which a page may only watch this run. @throws SendallError when there are too many. */
  watchToken(place: Place): string {
    const known = this.#watchKey(place);
    if (known) return known.secret;
    if (this.#watching.size >= this.#limits.watchLinks)
      throw new SendallError('LIMIT', `there are ${this.#limits.watchLinks} links for watching already (watchLinks)`);
    const stop = new AbortController();
    const key = this.#newKey({ only: place, withdrawn: stop.signal });
    this.#watching.set(key, stop);
    return key.secret;
  }

  /** Ends the address for watching this run, and the pages that came by it. False: there was none. */
  withdraw(place: Place): boolean {
    const key = this.#watchKey(place);
    if (!key) return false;
    this.#keys.delete(key);
    this.#watching.get(key)!.abort();
    return this.#watching.delete(key);
  }

  /** The key that a page names; undefined: there is none. */
  async named(name: string): Promise<Key | undefined> {
    for (const key of this.#keys) if ((await key.name) === name) return key;
    return undefined;
  }

  /** What a page may do that has this key. A one-time code is used up. */
  redeem(key: Key): Grant | undefined {
    if (!this.#keys.has(key)) return undefined;
    if (key.until === undefined) return key.grant;
    this.#keys.delete(key);
    return Date.now() <= key.until ? key.grant : undefined;
  }

  #newKey(grant: Grant, until?: number): Key {
    const word = secret();
    const key = { secret: word, name: keyName(word), grant, ...(until !== undefined && { until }) };
    this.#keys.add(key);
    return key;
  }

  #watchKey({ host, runId }: Place): Key | undefined {
    return [...this.#watching.keys()].find(({ grant: { only } }) => only?.host === host && only.runId === runId);
  }
}

/** A new random word of letters, digits, - and _. */
export const secret = (): string => randomBytes(24).toString('base64url');

/** Compares without telling by its time how much is right. */
export function same(given: string, wanted: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(wanted));
}

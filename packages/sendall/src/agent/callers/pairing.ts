/**
 * The agent's half of pairing. A caller that proves a one-time code gets its key pinned, and the agent's own proof.
 *
 * Codes live in memory and end with the agent. What an answer tells depends on what was proved: "used" and "expired"
 * are answers to a proof of that very code; without one every code is just wrong.
 *
 * A code of 130 bits is not guessed. A key that tries wrong ones pauses all the same, for the sake of the machine, and no
 * other key does: many callers may come from one address.
 */
import type { KeyObject } from 'node:crypto';
import diagnostics from 'node:diagnostics_channel';
import { hostname } from 'node:os';
import { ProtocolError, UsageError } from '../../errors.js';
import type { Identity } from '../../keys/identity.js';
import type { Link } from '../../link/link.js';
import type { RecordOf } from '../../log/records.js';
import { newCode, pairingProof, parseCode, sameProof } from '../../keys/pairing-proof.js';
import { printable } from '../../text/printable.js';
import type { Peer } from '../../link/tls.js';
import { OWNER } from '../../policy/rules.js';
import type { Control, MessageNamed } from '../../protocol/messages.js';
import { checkRights, type Callers, type Rights } from './callers.js';
import { sourceOf, WrongTries } from './wrong-tries.js';

/** `{ outcome, fingerprint, name, source }` for each attempt; outcome is "paired" or the code of a PAIR_FAIL. */
const channel = diagnostics.channel('sendall:pairing');

export interface PairingOptions {
  /**
   * What the agent calls itself.
   * @default the machine's host name
   */
  readonly name?: string;
  /**
   * Codes waiting at once.
   * @default 64
   */
  readonly maxCodes?: number;
  /**
   * How long a code that has expired is still told from a wrong one, in milliseconds.
   * @default one day
   */
  readonly rememberMs?: number;
  /**
   * Wrong tries of one key from one address before it must pause.
   * @default 5
   */
  readonly triesPerKey?: number;
  /**
   * Milliseconds.
   * @default one minute
   */
  readonly pauseMs?: number;
  /**
   * Milliseconds since the epoch.
   * @default Date.now
   */
  readonly now?: () => number;
  /**
   * Hears of keys that were pinned and of those that were not, for the log.
   * @default not told
   */
  readonly tell?: (outcome: 'paired' | FailCode, record: RecordOf<'note'>) => void;
}

/** A code to be typed on the caller's machine. */
export interface IssuedCode {
  readonly code: string;
  readonly fingerprint: string;
  /** ISO 8601, UTC. */
  readonly expires: string;
  /** Who the caller will be. */
  readonly principal: string;
  readonly roles: readonly string[];
}

interface Code {
  readonly key: KeyObject;
  readonly expiresMs: number;
  /** Who the caller will be. The code itself does not say it. */
  readonly rights: Rights;
  /** The first key that proved the code. No other can use it any more. */
  usedBy?: string;
  /** `usedBy` was written to the callers' file. */
  pinned: boolean;
}

/** What was said on one link. It ends with the first answer. */
interface Attempt {
  /** What the caller calls itself; empty before PAIR_BEGIN. */
  name: string;
  answered: boolean;
}

type FailCode = 'wrong' | 'used' | 'expired' | 'busy' | 'failed';

const DAY_MS = 24 * 60 * 60 * 1000;

export class PairingDesk {
  readonly #identity: Identity;
  readonly #callers: Callers;
  readonly #options: Required<PairingOptions>;
  readonly #tries: WrongTries;
  #codes: Code[] = [];
  readonly #attempts = new WeakMap<Link, Attempt>();

  constructor(identity: Identity, callers: Callers, options: PairingOptions = {}) {
    const { name = hostname(), maxCodes = 64, rememberMs = DAY_MS, now = Date.now } = options;
    const { triesPerKey = 5, pauseMs = 60_000, tell = () => undefined } = options;
    this.#identity = identity;
    this.#callers = callers;
    this.#options = { name, maxCodes, rememberMs, triesPerKey, pauseMs, now, tell };
    this.#tries = new WrongTries(pauseMs, now);
  }

  /**
   * Makes a code. `ttlMs`: 1 s to 24 h, default 10 minutes. Without rights it lets in an owner.
   * @throws UsageError
   */
  issue({ ttlMs = 10 * 60 * 1000, ...rights }: { ttlMs?: number } & Rights = {}): IssuedCode {
    const { maxCodes, now } = this.#options;
    checkRights(rights);
    if (!(ttlMs >= 1000 && ttlMs <= DAY_MS))
      throw new UsageError(`a pairing code lives from 1 second to 24 hours, not ${ttlMs} ms`);
    this.#forget();
    if (this.#codes.filter((code) => this.#waits(code)).length >= maxCodes)
      throw new UsageError(`${maxCodes} pairing codes are waiting already: use one of them, or wait until they expire`);
    const code = newCode();
    const expiresMs = now() + ttlMs;
    this.#codes.push({ key: parseCode(code), expiresMs, rights, pinned: false });
    const { principal = OWNER } = rights;
    const roles = rights.roles ?? this.#callers.rolesOf(principal) ?? (principal === OWNER ? [OWNER] : []);
    const expires = new Date(expiresMs).toISOString();
    return { code, fingerprint: this.#identity.fingerprint, expires, principal, roles };
  }

  /**
   * Answers a PAIR_* message of a caller that came over TLS. `peer` and `binding` are its connection's (acceptPeer,
   * exportBinding), `source` its address. Ends the link with the answer.
   * @throws ProtocolError
   */
  handle(link: Link, message: Control, peer: Peer, binding: Uint8Array, source: string): void {
    const attempt = this.#attempts.get(link) ?? { name: '', answered: false };
    // The link is ending; what the caller sent before it knew does not count.
    if (attempt.answered) return;
    const caller = { link, peer, binding, source: sourceOf(source), attempt };
    if (message.type === 'PAIR_BEGIN' && !attempt.name) {
      attempt.name = printable(message.name, 64) || 'unnamed';
      this.#attempts.set(link, attempt);
      this.#admit(caller);
    } else if (message.type === 'PAIR_PROOF' && attempt.name) {
      if (this.#admit(caller)) this.#prove(caller, message);
    } else throw new ProtocolError(`${message.type} is out of place`);
  }

  /** False when the caller must pause: the answer says so, and its proof is not looked at. */
  #admit(caller: Arrival): boolean {
    const waitMs = this.#tries.pauseOf(keyAt(caller));
    if (!waitMs) return true;
    this.#fail(caller, 'busy', `too many wrong codes: wait ${Math.ceil(waitMs / 1000)} seconds`);
    return false;
  }

  #prove(caller: Arrival, message: MessageNamed<'PAIR_PROOF'>): void {
    const { peer, binding } = caller;
    const input = { binding, clientSpki: peer.spki, agentSpki: this.#identity.spki };
    caller.attempt.answered = true;
    this.#forget();
    const code = this.#codes.find(({ key }) => sameProof(pairingProof(key, 'client', input), message.proof));
    if (!code) {
      this.#tries.count(keyAt(caller), this.#options.triesPerKey);
      return this.#fail(caller, 'wrong', 'no such code waits here');
    }
    if (code.usedBy !== undefined && code.usedBy !== peer.fingerprint)
      return this.#fail(caller, 'used', 'another key has used this code');
    if (code.expiresMs <= this.#options.now()) return this.#fail(caller, 'expired', 'this code has expired');
    // From here on no other key can use the code, though the pin is yet to be written.
    code.usedBy = peer.fingerprint;
    this.#pin(caller, code).then(
      (known) => {
        if (!known) return this.#fail(caller, 'used', 'the key that used this code was removed since');
        if (!code.pinned) {
          const { principal, roles } = this.#callers.find(peer.spki) ?? {};
          this.#options.tell('paired', { ...recordOf(caller), principal, roles });
        }
        code.pinned = true;
        this.#publish(caller, 'paired');
        caller.link.send({
          type: 'PAIR_DONE',
          alias: 0,
          proof: pairingProof(code.key, 'agent', input),
          name: this.#options.name,
        });
        caller.link.close();
      },
      (error: Error) => this.#fail(caller, 'failed', `the pin could not be kept: ${error.message}`),
    );
  }

  /** Writes the pin. False for a key that was pinned by the same code and removed since. */
  async #pin({ peer, attempt }: Arrival, { pinned, rights }: Code): Promise<boolean> {
    if (pinned) return this.#callers.find(peer.spki) !== undefined;
    await this.#callers.add({ fingerprint: peer.fingerprint, name: attempt.name, ...rights });
    this.#callers.look();
    return true;
  }

  #fail(caller: Arrival, code: FailCode, message: string): void {
    caller.attempt.answered = true;
    this.#options.tell(code, { ...recordOf(caller), reason: message });
    this.#publish(caller, code);
    caller.link.send({ type: 'PAIR_FAIL', alias: 0, code, message });
    caller.link.close();
  }

  #publish({ peer, source, attempt }: Arrival, outcome: FailCode | 'paired'): void {
    if (channel.hasSubscribers) channel.publish({ outcome, fingerprint: peer.fingerprint, name: attempt.name, source });
  }

  #waits({ usedBy, expiresMs }: Code): boolean {
    return usedBy === undefined && expiresMs > this.#options.now();
  }

  /** Drops codes that expired long ago, and the oldest of the used and expired ones when they are many. */
  #forget(): void {
    const { now, rememberMs, maxCodes } = this.#options;
    const waiting = this.#codes.filter((code) => this.#waits(code));
    const past = this.#codes.filter((code) => !this.#waits(code) && code.expiresMs + rememberMs > now());
    this.#codes = [...past.slice(-4 * maxCodes), ...waiting];
  }
}

interface Arrival {
  readonly link: Link;
  readonly peer: Peer;
  readonly binding: Uint8Array;
  readonly source: string;
  readonly attempt: Attempt;
}

/** What the log has of an attempt. */
const recordOf = ({ source, peer, attempt }: Arrival): RecordOf<'note'> => ({
  caller: peer.fingerprint,
  source,
  name: attempt.name,
});

const keyAt = ({ source, peer }: Arrival) => `${source} ${peer.fingerprint}`;

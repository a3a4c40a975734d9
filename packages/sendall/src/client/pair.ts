/** The caller's half of pairing: prove the code, check the agent's proof, and only then remember its key. */
import { ProtocolError, RefusedError, SendallError, UnreachableError, UsageError } from '../errors.js';
import type { Home } from '../home.js';
import { durationOption, type Duration } from '../text/duration.js';
import { formatTlsUrl, parseTlsUrl } from '../text/address.js';
import { isNatsHost, NO_ENGINE, parseNatsHost } from '../text/nats-address.js';
import { helloMessage } from '../link/handshake.js';
import { readEngine } from '../keys/engine.js';
import { loadIdentity, type Identity } from '../keys/identity.js';
import { Link } from '../link/link.js';
import { pairingProof, parseCode, sameProof } from '../keys/pairing-proof.js';
import { printable } from '../text/printable.js';
import { dialTls, exportBinding } from '../link/tls.js';
import type { Message, MessageNamed } from '../protocol/messages.js';
import { callerName } from './caller-name.js';
import { checkHostName } from './inventory.js';
import { KnownHosts, type KnownHost } from './known-hosts.js';
import { afterReading } from '../timer.js';

/** The caller's half of a pairing. */
export interface PairOptions {
  /** From `sendall pair --new` on the agent's machine. */
  readonly code: string;
  /** The host's name here. A known name gets the new address and key. */
  readonly name: string;
  /**
   * Milliseconds for the whole pairing. 0: no limit.
   * @default 10_000
   */
  readonly timeoutMs?: Duration;
  readonly signal?: AbortSignal;
  /**
   * The identity that the host lets in: one that `sendall identity new` made.
   * @default SENDALL_IDENTITY, else this user's own
   */
  readonly identity?: string | undefined;
}

const OPTION_NAMES = new Set(['code', 'name', 'timeoutMs', 'signal', 'identity']);

/** A host after pairing. */
export interface Paired {
  readonly name: string;
  readonly url: string;
  /** Fingerprint of the agent's key. */
  readonly pin: string;
  /** The host's previous entry. */
  readonly before?: KnownHost;
}

/**
 * Pairs with the agent at `url` (tls://HOST:PORT or nats:ID): pins its key under `name` here, and our key there. Repeating it with
 * the same code is harmless.
 * @throws UsageError when the address, the name, the code or a configuration file is wrong.
 * @throws UnreachableError when no agent answers there.
 * @throws RefusedError when the code is wrong, used or expired, or the agent does not know it.
 * @throws the signal's reason when the signal was aborted.
 */
export async function pair(home: Home, url: string, options: PairOptions): Promise<Paired> {
  const unknown = Object.keys(options).find((key) => !OPTION_NAMES.has(key));
  if (unknown !== undefined) throw new UsageError(`there is no pair option "${unknown}"`);
  const { signal } = options;
  const timeoutMs = durationOption('timeoutMs', options.timeoutMs) ?? 10_000;
  const where = isNatsHost(url) ? `nats:${parseNatsHost(url)}` : formatTlsUrl(parseTlsUrl(url));
  const name = checkHostName(options.name);
  const code = parseCode(options.code);
  const hosts = KnownHosts.of(home);
  hosts.get(name); // A file that is wrong is better known before the code is used.
  const called = options.identity || process.env.SENDALL_IDENTITY || undefined;
  const identity = await loadIdentity(home, { name: called, create: true });
  const started = performance.now();
  const { socket, peer } = await reach(home, where, { identity, timeoutMs, signal });
  const link = new Link(socket);
  try {
    const input = { binding: exportBinding(socket), clientSpki: identity.spki, agentSpki: peer.spki };
    const leftMs = timeoutMs && Math.max(1, timeoutMs - (performance.now() - started));
    const done = await exchange(link, pairingProof(code, 'client', input), {
      where,
      fingerprint: peer.fingerprint,
      leftMs,
      signal,
    });
    if (!sameProof(pairingProof(code, 'agent', input), done.proof))
      throw new RefusedError(
        `${where} took the code but could not prove that it knows it: the connection may be intercepted; ` +
          'nothing was pinned here: pair again over a connection you trust, with a new code',
      );
  } finally {
    link.destroy();
  }
  const before = await hosts.pair({ name, url: where, pin: peer.fingerprint, identity: called });
  return { name, url: where, pin: peer.fingerprint, ...(before && { before }) };
}

interface Reaching {
  readonly identity: Identity;
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
}

/** Behind a broker, the address names the key: another one is refused before the code is used. */
async function reach(home: Home, url: string, options: Reaching): ReturnType<typeof dialTls> {
  if (!isNatsHost(url)) return await dialTls({ ...parseTlsUrl(url), ...options });
  const engine = readEngine(home);
  if (!engine) throw new UsageError(NO_ENGINE);
  const { dialNats } = await import('../link/nats/dial.js');
  return await dialNats({ url, engine, ...options });
}

interface Exchange {
  readonly where: string;
  readonly fingerprint: string;
  readonly leftMs: number;
  readonly signal: AbortSignal | undefined;
}

/** HELLO and PAIR_BEGIN, the proof after HELLO_OK, then the agent's answer. */
function exchange(link: Link, proof: Buffer, options: Exchange): Promise<MessageNamed<'PAIR_DONE'>> {
  const { where, leftMs, signal } = options;
  return new Promise((resolve, reject) => {
    const settle = () => {
      cease?.();
      signal?.removeEventListener('abort', abort);
    };
    const fail = (error: unknown) => {
      settle();
      reject(error as Error);
    };
    const abort = () => fail(signal?.reason);
    const timeout = () =>
      fail(new UnreachableError(`${where} did not answer in time: try again, or check what runs there`));
    const cease = leftMs ? afterReading(leftMs, timeout) : undefined;
    signal?.addEventListener('abort', abort, { once: true });
    if (signal?.aborted) return abort();
    link.start({
      message(message) {
        if (message.type === 'HELLO_OK') link.send({ type: 'PAIR_PROOF', alias: 0, proof });
        else if (message.type === 'PAIR_DONE') {
          settle();
          resolve(message);
        } else fail(refusal(message, options));
      },
      closed: (error) => {
        const why = error ? `: ${printable(error.message)}` : '';
        fail(new UnreachableError(`${where} ended the connection before the pairing was done${why}`, { cause: error }));
      },
    });
    link.send(helloMessage(callerName()));
    link.send({ type: 'PAIR_BEGIN', alias: 0, name: callerName() });
  });
}

/** The error that an answer other than PAIR_DONE stands for. */
function refusal(message: Message, { where, fingerprint }: Exchange): SendallError {
  if (message.type === 'LINK_ERROR') return new RefusedError(`${where} refused: ${printable(message.message)}`);
  if (message.type === 'GOAWAY')
    return new UnreachableError(`${where} is going away (${printable(message.reason)}): try again in a moment`);
  if (message.type !== 'PAIR_FAIL') return new ProtocolError(`${where} sent ${message.type} while pairing`);
  const next = 'make a new one there with sendall pair --new';
  if (message.code === 'wrong')
    return new RefusedError(
      `${where} does not know this code: check it, and that the key there, ${fingerprint}, is the one that sendall pair --new showed`,
    );
  if (message.code === 'expired') return new RefusedError(`the code has expired: ${next}`);
  if (message.code === 'used')
    return new RefusedError(
      `the code was used by another key; if that was not yours, remove it there (sendall pair --list); then ${next}`,
    );
  return new RefusedError(`${where} did not pair: ${printable(message.message)}`);
}

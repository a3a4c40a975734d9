/**
 * A knock: a caller's signed wish for a link to a host. The signature keeps others of the broker's clients from making
 * a host work for them under a caller's name; who the caller is, TLS proves again inside the link.
 */
import { createPublicKey, sign, verify } from 'node:crypto';
import { ProtocolError, RefusedError } from '../../errors.js';
import { fingerprintOf } from '../../keys/fingerprint.js';
import type { Identity } from '../../keys/identity.js';
import { isLinkName } from './subjects.js';

/** Milliseconds by which the clocks of caller and host may differ. */
export const MAX_SKEW = 10 * 60 * 1000;
/** Longer than any knock of ours. */
const MAX_KNOCK = 1024;
const CONTEXT = 'sendall-knock-1';

export interface Knock {
  readonly link: string;
  /** The caller's clock, in milliseconds since the epoch. */
  readonly timeMs: number;
  /** The caller's public key, DER. */
  readonly spki: Buffer;
  readonly fingerprint: string;
}

interface Written {
  readonly link: string;
  readonly time: number;
  readonly key: string;
  readonly signature: string;
}

/** What is signed. The link's name is random, so it is the nonce too. */
const signed = (host: string, link: string, time: number): Buffer =>
  Buffer.from(`${CONTEXT}\n${host}\n${link}\n${time}\n`);

export function writeKnock(identity: Identity, host: string, link: string, time = Date.now()): Buffer {
  const signature = sign('sha256', signed(host, link, time), identity.key).toString('base64url');
  const written: Written = { link, time, key: identity.spki.toString('base64url'), signature };
  return Buffer.from(JSON.stringify(written));
}

/**
 * Reads a knock, without its signature being checked.
 * @throws ProtocolError when it is none.
 */
export function readKnock(bytes: Uint8Array): Knock & { verify(host: string): void } {
  if (bytes.length > MAX_KNOCK) throw new ProtocolError(`a knock of ${bytes.length} bytes`);
  const { link, time, key, signature } = parse(bytes);
  const spki = Buffer.from(key, 'base64url');
  return {
    link,
    timeMs: time,
    spki,
    fingerprint: fingerprintOf(spki),
    verify(host) {
      const skew = Date.now() - time;
      if (Math.abs(skew) > MAX_SKEW)
        throw new RefusedError(
          `the caller's clock is ${Math.round(Math.abs(skew) / 1000)} s ${skew > 0 ? 'behind' : 'ahead of'} the host's: set both`,
        );
      const publicKey = createPublicKey({ key: spki, format: 'der', type: 'spki' });
      if (!verify('sha256', signed(host, link, time), publicKey, Buffer.from(signature, 'base64url')))
        throw new ProtocolError('a knock with a wrong signature');
    },
  };
}

function parse(bytes: Uint8Array): Written {
  let written: Partial<Written>;
  try {
    written = JSON.parse(Buffer.from(bytes).toString()) as Partial<Written>;
  } catch (cause) {
    throw new ProtocolError('a knock that is not JSON', { cause });
  }
  const { link, time, key, signature } = written ?? {};
  if (typeof link !== 'string' || !isLinkName(link) || typeof key !== 'string' || typeof signature !== 'string')
    throw new ProtocolError('a knock without a link, a key or a signature');
  if (!Number.isSafeInteger(time)) throw new ProtocolError('a knock without a time');
  return { link, time: time!, key, signature };
}

/** A host's answer to a knock: nothing for a yes, else the reason. */
export const knockAnswer = (refusal?: string): Buffer => Buffer.from(refusal === undefined ? '+' : `-${refusal}`);

/** The reason for a no; undefined for a yes. */
export function refusalIn(bytes: Uint8Array): string | undefined {
  const text = Buffer.from(bytes).toString();
  return text === '+' ? undefined : text.slice(1, 300) || 'no reason was given';
}

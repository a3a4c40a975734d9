/**
 * One-time codes for pairing, and proofs of knowing one.
 *
 * A code has 130 random bits, so it can be guessed neither online nor from an intercepted proof. A proof is bound to
 * the TLS connection and to both keys: a proxy cannot use it on any other connection.
 */
import { createHmac, createSecretKey, randomBytes, timingSafeEqual, type KeyObject } from 'node:crypto';
import { UsageError } from '../errors.js';

/** Digits and letters without I, L, O and U. Source: Crockford's base 32. */
const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const LENGTH = 26;
const GROUPS = /^(.{5})(.{5})(.{6})(.{5})(.{5})$/;
/** Longer than a code in any spelling. */
const MAX_TEXT = 256;

/** A new code as text: 26 characters of five bits each, in five groups. */
export function newCode(): string {
  const characters = Array.from(randomBytes(LENGTH), (byte) => ALPHABET[byte & 31]);
  return characters.join('').replace(GROUPS, '$1-$2-$3-$4-$5');
}

/**
 * The key in a code as typed by a person: upper or lower case, with or without dashes and spaces, I and L for 1, O for
 * 0.
 * @throws UsageError, which never contains the code.
 */
export function parseCode(text: string): KeyObject {
  if (typeof text !== 'string' || text.length > MAX_TEXT)
    throw new UsageError(`a pairing code has ${LENGTH} letters and digits; copy it from sendall pair --new`);
  const code = text
    .normalize('NFKC')
    .toUpperCase()
    .replace(/[\s\p{Pd}_−]/gu, '')
    .replace(/[IL]/g, '1')
    .replace(/O/g, '0');
  const wrong = code.search(/[^0-9A-HJKMNP-TV-Z]/);
  if (wrong >= 0)
    throw new UsageError(
      `character ${wrong + 1} of the pairing code is not one that codes have: copy it from sendall pair --new`,
    );
  if (code.length !== LENGTH)
    throw new UsageError(
      `a pairing code has ${LENGTH} letters and digits; this one has ${code.length}: copy it from sendall pair --new`,
    );
  return createSecretKey(code, 'ascii');
}

export interface ProofInput {
  /** From `exportBinding`. */
  readonly binding: Uint8Array;
  readonly clientSpki: Uint8Array;
  readonly agentSpki: Uint8Array;
}

/** HMAC-SHA-256(code, role || binding || client SPKI || agent SPKI). */
export function pairingProof(code: KeyObject, role: 'client' | 'agent', input: ProofInput): Buffer {
  // The concatenation is unambiguous: the binding has a fixed size, and DER is self-delimiting.
  return createHmac('sha256', code)
    .update(role)
    .update(input.binding)
    .update(input.clientSpki)
    .update(input.agentSpki)
    .digest();
}

/** Compares in constant time. */
export function sameProof(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

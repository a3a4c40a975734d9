/**
 * The identity of a machine says which key signs its log. Its statement begins with words that no other signature of the
 * identity's key covers, so neither passes for the other.
 */
import { createPublicKey, hash, sign, verify } from 'node:crypto';
import { SendallError } from '../errors.js';
import { parseLogKey, type LogKey } from './checkpoint.js';

/** The first line of the statement. */
const DOMAIN = 'sendall log key, version 1';

/** A log's key, and the word of the machine's identity for it. */
export interface Certificate {
  /** The log's key: NAME+ID+KEY. */
  readonly key: string;
  /** The identity's public key: base64 of its SubjectPublicKeyInfo. */
  readonly identity: string;
  /** The identity's signature (ECDSA over SHA-256), base64 of its DER. */
  readonly signature: string;
}

const statement = (key: string): Buffer => Buffer.from(`${DOMAIN}\n${key}\n`);

/** Certifies a log's key by an identity: its private key (PEM) and its public key (DER). */
export function certify({ text }: LogKey, identity: { readonly key: string; readonly spki: Uint8Array }): Certificate {
  const signature = sign('sha256', statement(text), identity.key).toString('base64');
  return { key: text, identity: Buffer.from(identity.spki).toString('base64'), signature };
}

/**
 * The log's key, and the fingerprint of the identity that stands for it.
 * @throws SendallError LOG when the signature is not the identity's.
 */
export function openCertificate({ key, identity, signature }: Certificate): { key: LogKey; fingerprint: string } {
  const spki = Buffer.from(identity, 'base64');
  let isValid = false;
  try {
    const by = createPublicKey({ key: spki, format: 'der', type: 'spki' });
    isValid = verify('sha256', statement(key), by, Buffer.from(signature, 'base64'));
  } catch {
    // Not a key at all.
  }
  if (!isValid) throw new SendallError('LOG', 'the identity has not certified this key of a log');
  return { key: parseLogKey(key), fingerprint: `SHA256:${hash('sha256', spki, 'base64url')}` };
}
